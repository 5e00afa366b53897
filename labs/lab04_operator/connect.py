"""Step 1: where Vault is, and in whose name the operator may ask."""

from __future__ import annotations

import base64
from typing import Any

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import custom, plain_secret, status, wait_valid


def service_account(name: str, namespace: str = "") -> Any:
    """A ServiceAccount: an identity and nothing else."""
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, **place},
        "automountServiceAccountToken": False,
    }


def trust_cluster(lab: LabContext) -> None:
    """The kubernetes auth method of lab 01, ready for log-ins of this cluster's accounts."""
    auth = lab.path("kubernetes")
    lab.kube.apply(service_account("reviewer"))
    lab.kube.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": lab.path("reviewer")},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
            },
            "subjects": [
                {"kind": "ServiceAccount", "name": "reviewer", "namespace": lab.namespace}
            ],
        }
    )
    lab.http.post(f"/v1/sys/auth/{auth}", json={"type": "kubernetes"})
    lab.http.post(
        f"/v1/auth/{auth}/config",
        json={
            "kubernetes_host": lab.access.api_server,
            "kubernetes_ca_cert": lab.kube.ca_certificate(),
            "token_reviewer_jwt": lab.kube.create_token("reviewer", seconds=24 * 3600),
        },
    )


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
    lab.http.post(
        f"/v1/auth/{lab.path('kubernetes')}/role/shop",
        json={
            "bound_service_account_names": ["shop"],
            "bound_service_account_namespaces": [lab.namespace, lab.path("leaving")],
            "audience": "vault",
            "token_policies": [lab.path("shop"), lab.path("orders"), lab.path("pki")],
            "token_ttl": "1h",
        },
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
    role = (
        lab.http.get(f"/v1/auth/{lab.path('kubernetes')}/role/shop", allow={404})
        .json()
        .get("data", {})
    )
    wanted: dict[str, Any] = {
        "bound_service_account_names": ["shop"],
        "bound_service_account_namespaces": [lab.namespace, lab.path("leaving")],
        "audience": "vault",
        "token_policies": sorted(lab.path(p) for p in ("shop", "orders", "pki")),
    }
    for field, value in wanted.items():
        found_value = role.get(field)
        if isinstance(found_value, list):
            found_value = sorted(found_value)
        expect(
            found_value == (sorted(value) if isinstance(value, list) else value),
            f"the login role shop has {field} = {value}",
            found=found_value,
        )
    token = lab.kube.create_token("shop", audience="vault")
    login = lab.http.post(
        f"/v1/auth/{lab.path('kubernetes')}/login",
        json={"role": "shop", "jwt": token},
        allow={400, 403, 500},
    )
    expect(
        login.status_code == 200,
        "the service account shop can log in",
        found=login.text if login.status_code != 200 else None,
    )
    accessor = login.json()["auth"]["accessor"]
    lab.http.post("/v1/auth/token/revoke-accessor", json={"accessor": accessor})
    certificate = lab.access.vault_ca.read_text()
    trusted = (lab.kube.get("Secret", connection["spec"]["caCertSecretRef"]) or {}).get("data", {})
    expect(
        base64.b64decode(trusted.get("ca.crt", "")).decode().strip() == certificate.strip(),
        "the CA is the one that signed Vault's certificate",
    )


@connect.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
