"""Step 11: two Vaults feed one namespace, and three more ways to log in."""

from __future__ import annotations

from harness import expect
from harness.lab.api import AuditLog, LabContext
from harness.lab.kit import jwt_auth
from harness.lab.kit.operator import SecondVault
from labs.lab04_operator.connect import vault_trust
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    condition,
    custom,
    is_synced,
    plain_secret,
    same,
    static_secret,
    status,
    wait_synced,
)

# The Secrets of this step, and the VaultAuth of each.
WAYS = {"pay-jwt": "second-jwt", "pay-copied": "second-copied", "pay-role": "second-role"}


def second_vault(lab: LabContext) -> SecondVault:
    """The other Vault of this environment; its calls are told like those of the first."""
    return SecondVault.of(lab.access.state, lab.say)


@operator.step(
    "Two Vaults, one namespace",
    hints=[
        "`second = second_vault(lab)`, then `second.http` as `lab.http`: KV v2 `lab04-pay` with "
        "`shop` (password `lab.secret('pay-1')`), policy lab04-pay. A jwt method as in lab 01, "
        "with a role `shop`: `jwt_auth.trust_issuer` and `jwt_auth.make_role` take `second.http`. "
        "An approle method `lab04-approle` with a role `shop`.",
        "A Secret `second-ca`, a VaultConnection `second`, a VaultAuthGlobal `payments` with "
        "vaultConnectionRef, defaultAuthMethod jwt and jwt: mount, role, audiences. VaultAuths: "
        "second-jwt (vaultAuthGlobalRef, jwt: serviceAccount shop), second-copied (jwt: secretRef, "
        "a Secret with the key `jwt`), second-role (appRole: roleId, secretRef, a Secret with the "
        "key `id`).",
        "VaultStaticSecrets pay-jwt, pay-copied and pay-role, one through each, from lab04-pay/"
        "shop, refreshAfter 5s.",
    ],
)
def two_vaults(lab: LabContext) -> None:
    """
    The payments team has a Vault of its own: another address, another CA, another
    administrator. For the operator that is one more **VaultConnection**; each secret goes by
    way of its VaultAuth to the Vault that it comes from. The two know nothing of each other.

    The second Vault may not call our API server, so it does not use the kubernetes method.
    Three other ways, from good to bad:

    - **jwt with a service account**: Vault checks the signature with the cluster's public
      keys; nothing is stored anywhere.
    - **jwt from a Secret**: a token that somebody put there. It runs out in an hour, and then
      the log-in fails: who renews it?
    - **appRole**: a role id and a *secret id*, which lies in a Kubernetes Secret. A password
      to get passwords; for machines that have no identity, it is what there is.

    Which Vault, which mount, which role: that is the same for everybody who asks the payments
    team. A **VaultAuthGlobal** says it once; the VaultAuth `second-jwt` adds whose log-in it
    is, and nothing else.
    """
    second = second_vault(lab)
    pay = lab.path("pay")
    second.http.post(f"/v1/sys/mounts/{pay}", json={"type": "kv", "options": {"version": "2"}})
    second.http.post(f"/v1/{pay}/data/shop", json={"data": {"password": lab.secret("pay-1")}})
    policy = f"""
path "{pay}/data/shop"         {{ capabilities = ["read"] }}
path "auth/token/revoke-accessor" {{ capabilities = ["update"] }}
"""
    second.http.put(f"/v1/sys/policies/acl/{pay}", json={"policy": policy})
    jwt_auth.trust_issuer(lab, second.http)
    jwt_auth.make_role(lab, "shop", policies=[pay], account="shop", ttl="1h", vault=second.http)
    approle = lab.path("approle")
    second.http.post(f"/v1/sys/auth/{approle}", json={"type": "approle"})
    second.http.post(
        f"/v1/auth/{approle}/role/shop", json={"token_policies": [pay], "token_ttl": "1h"}
    )
    role = f"/v1/auth/{approle}/role/shop"
    role_id = second.http.get(f"{role}/role-id").json()["data"]["role_id"]
    secret_id = second.http.post(f"{role}/secret-id").json()["data"]["secret_id"]

    copied = lab.kube.create_token("shop", audience="vault", seconds=3600)
    lab.kube.apply(plain_secret(lab, "copied-token", {"jwt": copied}))
    lab.kube.apply(plain_secret(lab, "secret-id", {"id": secret_id}))
    lab.kube.apply(vault_trust(lab, "second-ca", second.ca.read_text()))
    lab.kube.apply(f"""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultConnection
metadata: {{name: second}}
spec: {{address: {second.pod_addr}, caCertSecretRef: second-ca}}
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuthGlobal
metadata: {{name: payments}}
spec:
  vaultConnectionRef: second
  defaultAuthMethod: jwt
  jwt: {{mount: {lab.path("jwt")}, role: shop, audiences: [vault]}}
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata: {{name: second-jwt}}
spec:
  vaultAuthGlobalRef: {{name: payments}}
  jwt: {{serviceAccount: shop}}
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata: {{name: second-copied}}
spec:
  vaultConnectionRef: second
  method: jwt
  mount: {lab.path("jwt")}
  jwt: {{role: shop, secretRef: copied-token}}
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata: {{name: second-role}}
spec:
  vaultConnectionRef: second
  method: appRole
  mount: {approle}
  appRole: {{roleId: {role_id}, secretRef: secret-id}}
""")
    for name, way in WAYS.items():
        lab.kube.apply(static_secret(lab, name, "shop", mount=pay, vaultAuthRef=way))
        wait_synced(lab, "VaultStaticSecret", name)


@two_vaults.check
def _(lab: LabContext) -> None:
    second = second_vault(lab)
    path = f"{lab.path('pay')}/data/shop"
    answer = second.http.get(f"/v1/{path}", allow={403, 404}).json().get("data") or {}
    expect(answer, f"the second Vault has a secret {path}")
    connection = custom(lab, "VaultConnection", "second")
    expect(
        connection and connection["spec"]["address"] == second.pod_addr,
        f"there is a VaultConnection second to {second.pod_addr}",
        found=connection.get("spec"),
    )
    expect(
        status(lab, "VaultConnection", "second").get("valid") is True,
        "the operator finds it valid",
        found=status(lab, "VaultConnection", "second"),
    )
    for name, way in WAYS.items():
        resource = custom(lab, "VaultStaticSecret", name)
        expect(
            resource and resource["spec"].get("vaultAuthRef") == way,
            f"the VaultStaticSecret {name} goes by way of {way}",
            found=resource.get("spec"),
        )
        expect(
            is_synced(lab, "VaultStaticSecret", name)
            and same(lab, name, answer["data"]["password"]),
            f"the Secret {name} holds what the second Vault holds",
            found=condition(lab, "VaultStaticSecret", name, "SecretSynced"),
        )
    specs = {way: custom(lab, "VaultAuth", way).get("spec") or {} for way in WAYS.values()}
    expect(
        (specs["second-jwt"].get("jwt") or {}).get("serviceAccount")
        and (specs["second-copied"].get("jwt") or {}).get("secretRef")
        and specs["second-role"].get("method") == "appRole",
        "three ways to log in: a service account, a copied token, an AppRole",
        found=specs,
    )
    shared = custom(lab, "VaultAuthGlobal", "payments").get("spec") or {}
    expect(
        (specs["second-jwt"].get("vaultAuthGlobalRef") or {}).get("name") == "payments"
        and not specs["second-jwt"].get("vaultConnectionRef")
        and shared.get("vaultConnectionRef") == "second",
        "which Vault second-jwt logs in to stands in the VaultAuthGlobal payments alone",
        found={"second-jwt": specs["second-jwt"], "payments": shared},
    )
    entries = AuditLog(second.audit_log).entries()
    readers = {
        str((entry.get("auth") or {}).get("display_name", "")).split("-")[1]
        for entry in entries
        if entry.get("type") == "response"
        and (entry.get("request") or {}).get("path") == path
        and str((entry.get("auth") or {}).get("display_name", "")).startswith("lab04-")
    }
    expect(
        {"jwt", "approle"} <= readers,
        "the second Vault's log shows reads by log-ins of both methods",
        found=readers,
    )
    expect(
        not lab.audit.responses(path),
        "and the first Vault was never asked for it",
        found=len(lab.audit.responses(path)),
    )
    expect(
        is_synced(lab, "VaultStaticSecret", "app"),
        "in the same namespace the secret of the first Vault is synced, too",
    )


@two_vaults.undo
def _(lab: LabContext) -> None:
    # The second Vault is in no inventory.
    second = second_vault(lab)
    for path in (
        f"sys/mounts/{lab.path('pay')}",
        f"sys/auth/{lab.path('jwt')}",
        f"sys/auth/{lab.path('approle')}",
        f"sys/policies/acl/{lab.path('pay')}",
    ):
        second.http.delete(f"/v1/{path}", allow={400, 404})
