"""Step 2: the pod that was sent, and the pod that was stored."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
    INIT,
    SECRETS,
    STATUS,
    agent_config,
    expect_running,
    find_container,
    given_ca,
    names,
    show,
    status_of,
)
from labs.lab03_injector.trust import way_in


@injector.step(
    "See what the webhook writes into a pod",
    minutes=8,
    goals=[
        "the stored pod has vault-agent among its containers",
        "the stored pod has vault-agent-init among its initContainers",
        "the stored pod has home-init, home-sidecar, vault-secrets among its volumes",
        "the webhook has left its mark: agent-inject-status is injected",
        "all three volumes lie in memory",
        "the agent was told to log in with the role app",
        "vault-agent is not root and has no capability",
        "the application started after vault-agent-init had ended well",
        "and found the password of Vault in its file",
    ],
    answer="Two, of one that you wrote: the application and the agent beside it. The init "
    "container is not counted.",
    hints=[
        "`kubectl describe pod web` shows the annotations as they were stored, and what the agents "
        "are waiting for.",
        "The injector looks for annotations that begin with `vault.hashicorp.com/`. Step 1 made "
        "the role, and the secret's request path is in `vault kv get -mount=lab03-kv app`.",
        'agent-inject: "true"; role: app; agent-inject-secret-app: $NAMESPACE-kv/data/app.',
    ],
)
def see_the_mutation(lab: LabContext) -> None:
    """
    The application's manifest gets a few
    [annotations](https://developer.hashicorp.com/vault/docs/platform/k8s/injector/annotations):
    *inject*, the **role**, and a **path** in Vault. On creation the API server asks the
    injector's **webhook**, and the answer is a JSON Patch: the pod that is stored is not the
    pod that you sent.

    kubectl keeps what you sent in an annotation. So the second command can ask the API server
    twice what it *would* store, once with the wish for an agent and once without. The diff
    shows all that the webhook adds:

    - an **init container** that logs in, writes the files and ends; the application starts
      after it, so its files are there from the first moment;
    - a **sidecar** that stays and keeps them fresh;
    - **volumes in memory**: one for the secrets, mounted into the application at
      `/vault/secrets`, and a home for each agent's own token;
    - the agent's whole configuration, base64 in one variable, and in another one the CA with
      which it verifies Vault. No secret is in them.

    The agent is not root, has no capability and cannot write to its image.

    Before you run it: how many containers will `kubectl get pod web` count, of how many that
    you wrote?
    """
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations:
    vault.hashicorp.com/agent-inject: "true"  #? a string, as all annotations are
    vault.hashicorp.com/role: app  #? the role of step 1
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/agent-inject-secret-app: $NAMESPACE-kv/data/app  #? the secret's request path
spec:
  serviceAccountName: app
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext:
      runAsNonRoot: true
      runAsUser: 1000
      runAsGroup: 1000
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
      seccompProfile: {type: RuntimeDefault}
""")  # noqa: E501 - an annotation cannot be broken
    lab.sh(r"""
kubectl wait pod/web --for=condition=Ready --timeout=60s
kubectl get pod web
kubectl exec web -c app -- ls -l /vault/secrets
""")
    lab.sh(r"""
sent() {
  kubectl get pod web -o \
    jsonpath='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' |
    sed 's/"name":"web"/"name":"trial"/'
}
stored() {
  kubectl create --dry-run=server -f - -o yaml |
    sed -E 's/(kube-api-access)-\w+/\1/; /uid:|creationTimestamp:|^ *[A-Za-z0-9+\/=]{60,}$/d'
}
diff -U1 <(sent | sed 's/agent-inject":"true"/agent-inject":"false"/' | stored) <(sent | stored) |
  cut -c1-100 || true
""")


@see_the_mutation.check
def _(lab: LabContext) -> None:
    pod = expect_running(lab, "web")
    wanted = {
        "containers": [AGENT],
        "initContainers": [INIT],
        "volumes": ["home-init", "home-sidecar", "vault-secrets"],
    }
    for field, some in wanted.items():
        expect(
            set(some) <= set(names(pod, field)),
            f"the stored pod has {', '.join(some)} among its {field}",
            found=names(pod, field),
        )
    expect(
        (pod["metadata"].get("annotations") or {}).get(STATUS) == "injected",
        "the webhook has left its mark: agent-inject-status is injected",
    )
    volumes = [v for v in pod["spec"]["volumes"] if v["name"] in wanted["volumes"]]
    expect(
        all((v.get("emptyDir") or {}).get("medium") == "Memory" for v in volumes),
        "all three volumes lie in memory",
        found=volumes,
    )
    method = agent_config(pod, INIT)["auto_auth"]["method"]
    expect(
        method["config"]["role"] == "app"
        and method["mount_path"] == f"auth/{lab.path('kubernetes')}",
        "the agent was told to log in with the role app",
        found=method,
    )
    expect(
        agent_config(pod, INIT)["vault"]["address"] == lab.access.vault_pod_addr
        and given_ca(pod) == lab.access.vault_ca.read_text(encoding="ascii").strip(),
        "and where Vault is, by https, and which CA to verify it with",
        found=agent_config(pod, INIT)["vault"],
    )
    for name in (INIT, AGENT):
        rights = find_container(pod, name)["securityContext"]
        expect(
            rights["runAsNonRoot"]
            and rights["runAsUser"] == 100
            and rights["readOnlyRootFilesystem"]
            and rights["capabilities"]["drop"] == ["ALL"]
            and not rights["allowPrivilegeEscalation"],
            f"{name} is not root and has no capability",
            found=rights,
        )
    ended = status_of(pod, INIT)["state"]["terminated"]
    started = status_of(pod, "app")["state"]["running"]["startedAt"]
    expect(
        ended["exitCode"] == 0 and ended["finishedAt"] <= started,
        "the application started after vault-agent-init had ended well",
        found={"ended": ended["finishedAt"], "started": started},
    )
    text = show(lab, "web", f"cat {SECRETS}/app")
    password = stored(lab, "app")
    expect(password and password in text, "and found the password of Vault in its file")


@see_the_mutation.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
