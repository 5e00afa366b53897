"""Step 8: which Vault an agent believes: the environment's CA, another one, or anybody."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored_sum
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    INIT,
    SECRETS,
    agent_config,
    expect_running,
    expect_waiting,
    file_sum,
)
from labs.lab03_injector.trust import way_in

# Where `tls-secret` is mounted into the agents.
OWN_CA = "/vault/tls/ca.crt"
# A good certificate of another house: the one that every pod has for the API server.
CLUSTER_CA = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
UNTRUSTED = "certificate signed by unknown authority"


@injector.step(
    "Which Vault an agent believes",
    minutes=7,
    further=True,
    goals=[
        "own-ca has the password of Vault in its file",
        "blind has the password of Vault in its file",
        "wrong-ca: its application does not start",
        "wrong-ca: the agent's log says why, certificate signed by unknown authority",
        "wrong-ca asked the right server, and had the CA of the cluster",
    ],
    hints=[
        "own-ca and blind start; wrong-ca does not. `kubectl logs wrong-ca -c vault-agent-init` "
        "says why.",
        "`tls-secret` mounts its Secret into the agents at /vault/tls; a file there has the name "
        "of the Secret's key. The variable VAULT_CACERT is the file of Vault's CA.",
        "ca.crt=$VAULT_CACERT; tls-secret: vault-ca; ca-cert: /vault/tls/ca.crt; "
        "vault.hashicorp.com/tls-skip-verify=true.",
    ],
)
def which_vault(lab: LabContext) -> None:
    """
    The agent sends its pod's token to whoever answers at Vault's address. **TLS** is how it
    knows that this is Vault. In these labs the injector hands the CA to every agent
    (`AGENT_INJECT_VAULT_CACERT_BYTES`), so no pod has spoken of it up to now. A pod can have
    its own:

    - `tls-secret` mounts a Kubernetes Secret into the agents, and `ca-cert` names the file.
      (A CA certificate is no secret, but Secrets are all that this annotation mounts.)
    - `ca-cert` alone, with the CA of the **cluster**, is a mistake that looks right. It is a
      good certificate, but not the one that signed Vault's: the agent says *unknown authority*
      and waits.
    - `tls-skip-verify` makes the same pod start. It does not mend anything: now the agent
      gives its token to anybody who sits on that address, and takes "secrets" from there.
    """
    lab.sh("""
kubectl create secret generic vault-ca --from-file=ca.crt=$VAULT_CACERT
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: own-ca
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: app
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/agent-inject-template-app: |-
      {{- with secret "$NAMESPACE-kv/data/app" }}{{ .Data.data.password }}{{ end -}}
    vault.hashicorp.com/tls-secret: vault-ca  #? the Secret that holds the CA
    vault.hashicorp.com/ca-cert: /vault/tls/ca.crt  #? the file, where tls-secret is mounted
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
# The same pod under another name, without the Secret and with the CA that each pod has.
as() {
  kubectl get pod own-ca -o \
    jsonpath='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' |
    sed "s/\"name\":\"own-ca\"/\"name\":\"$1\"/" |
    kubectl annotate --local --overwrite -f - -o yaml vault.hashicorp.com/tls-secret- \
      vault.hashicorp.com/ca-cert=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt
}
as wrong-ca | kubectl apply -f -
as blind |
  kubectl annotate --local -f - -o yaml \
    vault.hashicorp.com/tls-skip-verify=true |  #?(tls-skip-verify) believe anybody
  kubectl apply -f -
kubectl wait pod/own-ca pod/blind --for=condition=Ready --timeout=60s
until kubectl logs wrong-ca -c vault-agent-init 2>&1 | grep 'unknown authority'; do sleep 1; done
kubectl get pods own-ca wrong-ca blind
""")


@which_vault.check
def _(lab: LabContext) -> None:
    right = stored_sum(lab, "app")
    for name, file, skips in (("own-ca", OWN_CA, False), ("blind", CLUSTER_CA, True)):
        told = agent_config(expect_running(lab, name), INIT).get("vault") or {}
        expect(
            told.get("ca_cert") == file and bool(told.get("tls_skip_verify")) == skips,
            f"the agent of {name} was given {file}" + (" and told not to verify" if skips else ""),
            found=told or f"no {INIT}",
        )
        expect(
            file_sum(lab, name, f"{SECRETS}/app") == right,
            f"{name} has the password of Vault in its file",
        )
    told = agent_config(expect_waiting(lab, "wrong-ca", UNTRUSTED), INIT)["vault"]
    expect(
        told.get("ca_cert") == CLUSTER_CA and told["address"] == lab.access.vault_pod_addr,
        "wrong-ca asked the right server, and had the CA of the cluster",
        found=told,
    )


@which_vault.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
