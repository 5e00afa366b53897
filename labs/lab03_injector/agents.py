"""Step 3: an agent before the application, beside it, or both; and a change in Vault."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored_sum
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    AGENT,
    INIT,
    SECRETS,
    expect_running,
    file_sum,
    names,
    status_of,
)
from labs.lab03_injector.trust import way_in

FILE = f"{SECRETS}/turning"


@injector.step(
    "Init container, sidecar, or both",
    minutes=8,
    goals=[
        "the pod both has the agents that it asked for",
        "the pod once has the agents that it asked for",
        "the pod beside has the agents that it asked for",
        "Vault holds a new password",
        "the new password has reached the file of both",
        "the new password has reached the file of beside",
        "the file of once is what it was when the pod started",
    ],
    hints=[
        "`kubectl get pods` counts the containers of each pod, and `kubectl logs both -c "
        "vault-agent` shows each time that a file is written.",
        "Upstream's list of annotations has two that begin with `agent-pre-populate`: one leaves "
        "out the sidecar, the other one the init container.",
        "vault.hashicorp.com/agent-pre-populate-only=true for once; "
        "vault.hashicorp.com/agent-pre-populate=false for beside; "
        "template-static-secret-render-interval: 2s; .Data.data.password.",
    ],
)
def before_beside_both(lab: LabContext) -> None:
    """
    Two annotations choose the agents. `agent-pre-populate-only` leaves out the sidecar,
    `agent-pre-populate: "false"` leaves out the init container.

    | pod | init | sidecar | so |
    |---|---|---|---|
    | both | yes | yes | files from the first moment, and fresh |
    | once | yes | no | files from the first moment, as they were then |
    | beside | no | yes | fresh, but the application starts **before** its files are there |

    Then somebody changes the secret in Vault. A KV secret has no lease, so nobody tells the
    agent: the agent **asks again** every five minutes, or as often as
    `template-static-secret-render-interval` says; here every two seconds. The file changes
    under the running application. Nothing restarts the application: it must read the file
    again itself.

    (Both agents are ordinary containers. Kubernetes has *native sidecars*, init containers
    that keep running; the injector does not use them yet, see
    [vault-k8s issue 620](https://github.com/hashicorp/vault-k8s/issues/620).)
    """
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: both
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: app
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/template-static-secret-render-interval: 2s  #? every two seconds
    vault.hashicorp.com/agent-inject-template-turning: |-
      {{- with secret "$NAMESPACE-kv/data/turning" -}}
      {{ .Data.data.password }}  #?(.Data.data.password)
      {{- end -}}
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
# The same pod under another name; `kubectl annotate --local` adds to the YAML, not to the cluster.
as() {
  kubectl get pod both -o \
    jsonpath='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' |
    sed "s/\"name\":\"both\"/\"name\":\"$1\"/"
}
as once |
  kubectl annotate --local -f - -o yaml \
    vault.hashicorp.com/agent-pre-populate-only=true |  #?(agent-pre-populate-only) no sidecar
  kubectl apply -f -
as beside |
  kubectl annotate --local -f - -o yaml \
    vault.hashicorp.com/agent-pre-populate=false |  #?(agent-pre-populate) no init container
  kubectl apply -f -
kubectl wait pod/both pod/once pod/beside --for=condition=Ready --timeout=60s
kubectl get pods both once beside
""")
    lab.sh(r"""
sums() {
  for pod in both once beside; do
    echo "$pod $(kubectl exec $pod -c app -- sha256sum /vault/secrets/turning)"
  done
}
sums
vault write -field=random_bytes sys/tools/random/12 format=hex |
  vault kv put -mount=$NAMESPACE-kv turning password=-
new=$(vault kv get -mount=$NAMESPACE-kv -field=password turning | sha256sum | cut -d' ' -f1)
until [ "$(sums | grep -c $new)" = 2 ]; do sleep 1; done
sums
""")


@before_beside_both.check
def _(lab: LabContext) -> None:
    wanted = {"both": (True, True), "once": (True, False), "beside": (False, True)}
    for name, (init, sidecar) in wanted.items():
        pod = expect_running(lab, name)
        found = (INIT in names(pod, "initContainers"), AGENT in names(pod))
        expect(
            found == (init, sidecar),
            f"the pod {name} has the agents that it asked for",
            found={INIT: found[0], AGENT: found[1]},
        )
        restarts = status_of(pod, "app").get("restartCount")
        expect(restarts == 0, f"the application of {name} was never restarted", found=restarts)
    old, new = (stored_sum(lab, "turning", version=number) for number in (1, 0))
    expect(
        old != new,
        "Vault holds a new password",
        hint=f"vault kv put -mount={lab.path('kv')} turning password=...",
    )
    for name in ("both", "beside"):
        expect(
            file_sum(lab, name, FILE) == new,
            f"the new password has reached the file of {name}",
            hint=f"kubectl -n {lab.namespace} logs {name} -c {AGENT}; the interval is 2s",
        )
    expect(
        file_sum(lab, "once", FILE) == old,
        "the file of once is what it was when the pod started",
    )


@before_beside_both.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
