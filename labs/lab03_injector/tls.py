"""Step 8: which Vault an agent believes: the environment's CA, another one, or anybody."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored_sum
from labs.lab03_injector.files import password_only
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import (
    INIT,
    SECRETS,
    agent_config,
    app_pod,
    asking,
    expect_running,
    expect_waiting,
    file_sum,
    wait_for_words,
)
from labs.lab03_injector.trust import way_in

# Where `tls-secret` is mounted into the agents.
OWN_CA = "/vault/tls/ca.crt"
# A good certificate of another house: the one that every pod has for the API server.
CLUSTER_CA = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
UNTRUSTED = "certificate signed by unknown authority"

CA_WISHES = {
    "own-ca": {"tls-secret": "vault-ca", "ca-cert": OWN_CA},
    "wrong-ca": {"ca-cert": CLUSTER_CA},
    "blind": {"ca-cert": CLUSTER_CA, "tls-skip-verify": "true"},
}


@injector.step(
    "Which Vault an agent believes",
    hints=[
        "A Secret `vault-ca` with the key ca.crt: the certificate in the file "
        "`lab.access.vault_ca`. Then three pods, `app_pod(lab, name, asking(lab, "
        "password_only(lab, 'app') | CA_WISHES[name]))`.",
        "own-ca and blind start. wrong-ca does not; read `kubectl logs wrong-ca -c "
        "vault-agent-init`.",
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
      good certificate, but of another house: the agent says *unknown authority* and waits.
    - `tls-skip-verify` makes the same pod start. It does not mend anything: now the agent
      gives its token to anybody who sits on that address, and takes "secrets" from there.
    """
    certificate = lab.access.vault_ca.read_text(encoding="ascii")
    lab.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "vault-ca"},
            "stringData": {"ca.crt": certificate},
        }
    )
    for name, wishes in CA_WISHES.items():
        lab.kube.apply(app_pod(lab, name, asking(lab, password_only(lab, "app") | wishes)))
    for name in ("own-ca", "blind"):
        lab.kube.wait_for_pod(name)
    wait_for_words(lab, "wrong-ca", UNTRUSTED)


@which_vault.check
def _(lab: LabContext) -> None:
    right = stored_sum(lab, "app")
    for name, file, skips in (("own-ca", OWN_CA, False), ("blind", CLUSTER_CA, True)):
        told = agent_config(expect_running(lab, name), INIT).get("vault") or {}
        expect(
            told.get("ca_cert") == file and bool(told.get("tls_skip_verify")) == skips,
            f"the agent of {name} was told {CA_WISHES[name]}",
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
