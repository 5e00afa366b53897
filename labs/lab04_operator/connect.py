"""Step 1: where Vault is, and in whose name the operator may ask."""

from __future__ import annotations

import base64
from typing import Any

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kubernetes_auth import expect_role, logged_in, make_role, trust_cluster
from harness.lab.kit.pods import service_account
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import custom, plain_secret, status, wait_valid


def vault_trust(lab: LabContext, name: str, certificate: str, namespace: str = "") -> Any:
    """A Secret with the CA that a VaultConnection verifies Vault with (key `ca.crt`)."""
    return plain_secret(lab, name, {"ca.crt": certificate}, namespace=namespace)


def way_in(lab: LabContext) -> LoginPath:
    """How the account `shop` gets in, as the steps that use it diagnose it."""
    return LoginPath(
        mount=lab.path("kubernetes"), role="shop", service_account="shop", reviewer="reviewer"
    )


@operator.step(
    "Tell the operator where Vault is, and who asks",
    goals=[
        "there is a VaultConnection vault",
        "it verifies Vault with a CA",
        "the operator finds VaultConnection vault valid",
        "the operator finds VaultAuth shop valid",
        "consumers that name this VaultAuth log in as the service account shop",
        "the auth method lab04-kubernetes has a role shop",
        "the role shop has bound_service_account_names = ['shop']",
        "the role shop has bound_service_account_namespaces = ['lab04', 'lab04-leaving']",
        "the role shop has audience = vault",
        "the role shop has token_policies = ['lab04-shop', 'lab04-orders', 'lab04-pki']",
        "a token of the service account shop logs in",
        "the CA is the one that signed Vault's certificate",
    ],
    hints=[
        "Vault's side as in lab 01: KV v2 at `lab04-kv` with a secret `shop/app`, a policy, "
        "`trust_cluster(lab)`, a login role `shop` for the service account `shop`.",
        "The role is bound to the namespaces lab04 and lab04-leaving, the audience vault, and the "
        "policies lab04-shop, lab04-orders and lab04-pki. The policies may come later.",
        "The cluster's side: a Secret `vault-ca` with the key ca.crt, a VaultConnection `vault` "
        "(address, caCertSecretRef) and a VaultAuth `shop` (method, mount, kubernetes: role, "
        "serviceAccount, audiences). `kubectl -n lab04 describe vaultauth shop`.",
    ],
)
def connect(lab: LabContext) -> None:
    """
    In lab 01 every application spoke to Vault. Now one program does: the **operator**. It
    watches custom resources and writes Kubernetes Secrets. Two of them say how Vault is
    reached:

    - a **VaultConnection** says where it is, and with which CA it is verified;
    - a **VaultAuth** says how one logs in.

    Look at what is *not* there: no token, no password. And the operator gets no rights of
    its own in Vault. For each consumer it asks the API server for a short token of *that
    consumer's* service account, and logs in with it. Vault sees `shop` of namespace
    `lab04`, not "the operator", and gives what shop may have.

    The operator could ask for a token of any service account, though. Whoever controls its
    namespace controls every secret that any consumer may read.
    """
    # In Vault: a secret, who may read it, and the way in of lab 01.
    engine = lab.path("kv")
    lab.http.post(f"/v1/sys/mounts/{engine}", json={"type": "kv", "options": {"version": "2"}})
    lab.http.post(
        f"/v1/{engine}/data/shop/app",
        json={"data": {"username": "shop", "password": lab.secret("app")}},
    )
    policy = f"""
path "{engine}/data/shop/*"           {{ capabilities = ["read"] }}
path "{lab.path("old")}/*"        {{ capabilities = ["read"] }}
path "sys/leases/renew"           {{ capabilities = ["update"] }}
path "sys/leases/revoke"          {{ capabilities = ["update"] }}
path "auth/token/revoke-accessor" {{ capabilities = ["update"] }}
"""
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('shop')}", json={"policy": policy})
    trust_cluster(lab)
    make_role(
        lab,
        "shop",
        policies=[lab.path("shop"), lab.path("orders"), lab.path("pki")],
        account="shop",
        namespaces=[lab.namespace, lab.path("leaving")],
        ttl="1h",
    )

    # In the cluster: an account, and the two resources.
    lab.kube.apply(service_account("shop"))
    lab.kube.apply(vault_trust(lab, "vault-ca", lab.access.vault_ca.read_text()))
    lab.kube.apply(f"""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultConnection
metadata: {{name: vault}}
spec:
  address: {lab.access.vault_pod_addr}
  caCertSecretRef: vault-ca
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata: {{name: shop}}
spec:
  vaultConnectionRef: vault
  method: kubernetes
  mount: {lab.path("kubernetes")}
  kubernetes: {{role: shop, serviceAccount: shop, audiences: [vault]}}
""")
    for kind, name in (("VaultConnection", "vault"), ("VaultAuth", "shop")):
        wait_valid(lab, kind, name)


@connect.check
def _(lab: LabContext) -> None:
    connection = custom(lab, "VaultConnection", "vault")
    expect(connection, "there is a VaultConnection vault")
    expect(
        connection["spec"].get("caCertSecretRef") and not connection["spec"].get("skipTLSVerify"),
        "it verifies Vault with a CA",
        found=connection["spec"],
    )
    for kind, name in (("VaultConnection", "vault"), ("VaultAuth", "shop")):
        found = status(lab, kind, name)
        expect(
            found.get("valid") is True,
            f"the operator finds {kind} {name} valid",
            found=found or "no status",
            hint=f"kubectl -n {lab.namespace} describe {kind.lower()} {name}",
        )
    spec = custom(lab, "VaultAuth", "shop")["spec"]
    expect(
        spec["method"] == "kubernetes" and spec["kubernetes"].get("serviceAccount") == "shop",
        "consumers that name this VaultAuth log in as the service account shop",
        found=spec,
    )
    expect_role(
        lab,
        "shop",
        policies=[lab.path("shop"), lab.path("orders"), lab.path("pki")],
        account="shop",
        namespaces=[lab.namespace, lab.path("leaving")],
    )
    with logged_in(lab, "shop", "shop"):
        pass
    certificate = lab.access.vault_ca.read_text()
    trusted = (lab.kube.get("Secret", connection["spec"]["caCertSecretRef"]) or {}).get("data", {})
    expect(
        base64.b64decode(trusted.get("ca.crt", "")).decode().strip() == certificate.strip(),
        "the CA is the one that signed Vault's certificate",
    )


@connect.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
