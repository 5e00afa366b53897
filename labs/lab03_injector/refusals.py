"""Step 12: ways to be refused, at creation or later, each for its own reason."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath, Object
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
    PREFIX,
    expect_waiting,
    manifest,
    names,
    would_be_refused,
)
from labs.lab03_injector.trust import way_in

# Refused at creation: what the API server's answer says.
DENIED = {
    "no-role": "no Vault role found",
    "no-token": "failed to find service account volume mount",
    "bad-template": "invalid default template type",
    "system-namespace": "cannot inject into system namespaces",
}
# Taken, and then waiting for ever: what the log of vault-agent-init says.
WAITING = {
    "wrong-role": 'invalid role name "no-such-role"',
    "wrong-account": "service account name not authorized",
    "wrong-path": "permission denied",
    "wrong-server": "not elsewhere.example",
}


def denied_pods(lab: LabContext) -> dict[str, Object]:
    """The pods of the first cell, of the manifest right.yaml with one mistake each."""
    pods = {name: manifest(lab, "right.yaml") for name in DENIED}
    for name, pod in pods.items():
        pod["metadata"]["name"] = name
    del pods["no-role"]["metadata"]["annotations"][f"{PREFIX}role"]
    pods["no-token"]["spec"]["automountServiceAccountToken"] = False
    annotations = pods["bad-template"]["metadata"]["annotations"]
    annotations[f"{PREFIX}agent-inject-default-template"] = "xml"
    # Only Kubernetes itself should put a pod there; this one is never created.
    pods["system-namespace"]["metadata"]["namespace"] = "kube-system"
    pods["system-namespace"]["spec"]["serviceAccountName"] = "default"
    return pods


@injector.step(
    "Be refused, for the right reason",
    minutes=10,
    goals=[
        "no-role: the webhook denies it, no Vault role found",
        "no-token: the webhook denies it, failed to find service account volume mount",
        "bad-template: the webhook denies it, invalid default template type",
        "system-namespace: the webhook denies it, cannot inject into system namespaces",
        "wrong-role: its application does not start",
        "wrong-account: its application does not start",
        "wrong-path: its application does not start",
        "wrong-server: its application does not start",
        "Vault's audit log has the refused login of another service account",
        "and the refused read of a path that the policy does not name",
        "misplaced: its pod runs without vault-agent, and nothing complained",
    ],
    answer="Only those that the webhook itself finds wrong. All the others are accepted, and their "
    "pods wait in `Init`: the agent's log has the status that Vault answered.",
    hints=[
        "A pod that waits says nothing itself: `kubectl logs NAME -c vault-agent-init` does.",
        "`kubectl annotate --local` and `kubectl patch --local` change the YAML that they read, "
        "not an object; `KEY-` removes an annotation.",
        "vault.hashicorp.com/role=no-such-role; serviceAccountName default; "
        "vault.hashicorp.com/agent-inject-secret-app=$NAMESPACE-kv/data/elsewhere; "
        "vault.hashicorp.com/tls-server-name=elsewhere.example.",
    ],
)
def be_refused(lab: LabContext) -> None:
    """
    Where does a mistake show? That depends on which part finds it.

    | mistake | found by | shows in |
    |---|---|---|
    | no role, no token mounted, a wrong value, a system namespace | the webhook | the answer to the creation (for a Deployment: events of its ReplicaSet) |
    | a role that does not exist, another service account, a path the policy does not name | Vault | the log of `vault-agent-init`; the pod stands at `Init:0/1` |
    | a server whose certificate is for another name | the agent, before it sends its token | the same log |
    | annotations on the Deployment instead of its pod template | nobody | the application: it runs, **without** secrets |

    A denial holds whatever failurePolicy says: that is for a webhook that does not answer.
    An agent that is refused at login tries again for ever, so the pod neither starts nor
    fails: `kubectl get pods` shows it waiting, and only the log knows why.

    All the pods here are made of one manifest with one mistake each.

    Before you run it: which of the eight mistakes will `kubectl apply` report?
    """  # noqa: E501 - a row of a Markdown table cannot be broken
    lab.sh(r"""
cat "$LAB/manifests/right.yaml"
as() { sed "s|name: right|name: $1|; s|image: app|image: $APP_IMAGE|" "$LAB/manifests/right.yaml"; }
annotate() { kubectl annotate --local --overwrite -f - -o yaml "$@"; }
patch() { kubectl patch --local -f - -o yaml -p "$1"; }
create() { kubectl create --dry-run=server -f - || true; }
echo '--- the webhook finds it'
as no-role | annotate vault.hashicorp.com/role- | create
as no-token | patch '{"spec": {"automountServiceAccountToken": false}}' | create
as bad-template | annotate vault.hashicorp.com/agent-inject-default-template=xml | create
as trial | patch '{"metadata": {"namespace": "kube-system"}}' |
  patch '{"spec": {"serviceAccountName": "default"}}' | create
""")
    lab.sh(r"""
as() { sed "s|name: right|name: $1|; s|image: app|image: $APP_IMAGE|" "$LAB/manifests/right.yaml"; }
annotate() { kubectl annotate --local --overwrite -f - -o yaml "$@"; }
echo '--- Vault finds it'
as wrong-role |
  annotate vault.hashicorp.com/role=no-such-role |  #? a role that Vault does not have
  kubectl apply -f -
as wrong-account |
  kubectl patch --local -f - -o yaml -p '{"spec": {"serviceAccountName": "default"}}' |
  kubectl apply -f -
as wrong-path |
  annotate vault.hashicorp.com/agent-inject-secret-app=$NAMESPACE-kv/data/elsewhere |
  kubectl apply -f -
echo '--- the agent finds it'
as wrong-server |
  annotate vault.hashicorp.com/tls-server-name=elsewhere.example |  #? no name of this Vault
  kubectl apply -f -
""")
    lab.kubectl_apply("""
apiVersion: apps/v1
kind: Deployment
metadata:
  name: misplaced
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: app
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/agent-inject-secret-app: $NAMESPACE-kv/data/app
spec:
  selector:
    matchLabels: {app: misplaced}
  template:
    metadata:
      labels: {app: misplaced}
    spec:
      serviceAccountName: app
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: $APP_IMAGE
        imagePullPolicy: IfNotPresent
        command: [sleep, infinity]
        securityContext: {runAsUser: 1000, runAsGroup: 1000}
""")
    lab.sh(r"""
kubectl rollout status deployment/misplaced --timeout=60s
says() { until kubectl logs $1 -c vault-agent-init 2>&1 | grep -F "$2"; do sleep 1; done; }
says wrong-role 'invalid role name'
says wrong-account 'service account name not authorized'
says wrong-path 'permission denied'
says wrong-server 'not elsewhere.example'
kubectl get pods wrong-role wrong-account wrong-path wrong-server
kubectl get pods -l app=misplaced
""")


@be_refused.check
def _(lab: LabContext) -> None:
    for name, reason in WAITING.items():
        expect_waiting(lab, name, reason)
    errors = lab.audit.refusals(f"auth/{lab.path('kubernetes')}/login")
    expect(
        any("service account name not authorized" in error for error in errors),
        "Vault's audit log has the refused login of another service account",
        found=sorted(set(errors)),
    )
    reads = lab.audit.refusals(lab.path("kv", "data", "elsewhere"))
    expect(
        any("permission denied" in error for error in reads),
        "and the refused read of a path that the policy does not name",
        found=sorted(set(reads)),
    )
    for name, pod in denied_pods(lab).items():
        said = would_be_refused(lab, pod)
        expect(
            "denied the request" in said and DENIED[name] in said,
            f"{name}: the webhook denies it, {DENIED[name]}",
            found=said or "it would be created",
        )
    pods = lab.kube.list("Pod", selector="app=misplaced")
    expect(
        pods and all(names(pod) == ["app"] for pod in pods),
        f"misplaced: its pod runs without {AGENT}, and nothing complained",
        found=[names(pod) for pod in pods],
    )


@be_refused.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
