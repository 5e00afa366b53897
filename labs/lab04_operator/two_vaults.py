"""Step 20: two Vaults feed one namespace."""

from __future__ import annotations

from harness import expect
from harness.lab.api import AuditLog, LabContext
from harness.lab.kit.operator import SecondVault
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import condition, custom, is_synced, is_valid, same, soon, status


def second_vault(lab: LabContext) -> SecondVault:
    """The other Vault of this environment; its calls are told like those of the first."""
    return SecondVault.of(lab.access.state, lab.say)


def paid(lab: LabContext, version: int = 0) -> str:
    """The password in the second Vault, in this version or the present one; "" without one."""
    address = f"/v1/{lab.path('pay', 'data', 'shop')}?version={version}"
    with lab.quiet():
        answer = second_vault(lab).http.get(address, allow={403, 404}).json()
    return str(((answer.get("data") or {}).get("data") or {}).get("password", ""))


def expect_synced(lab: LabContext, name: str, way: str) -> None:
    """State that a VaultStaticSecret goes by way of this VaultAuth and has the second's value."""
    resource = custom(lab, "VaultStaticSecret", name)
    expect(
        resource and resource["spec"].get("vaultAuthRef") == way,
        f"the VaultStaticSecret {name} goes by way of {way}",
        found=resource.get("spec"),
    )
    expect(
        soon(lab, lambda: is_synced(lab, "VaultStaticSecret", name)) and same(lab, name, paid(lab)),
        f"the Secret {name} holds what the second Vault holds",
        found=condition(lab, "VaultStaticSecret", name, "SecretSynced"),
    )


def readers(lab: LabContext) -> set[str]:
    """The auth methods by whose log-ins the secret was read, by the second Vault's audit log."""
    entries = AuditLog(second_vault(lab).audit_log).responses(lab.path("pay", "data", "shop"))
    names = [str((entry.get("auth") or {}).get("display_name", "")) for entry in entries]
    return {name.split("-")[1] for name in names if name.startswith(f"{lab.lab.prefix}-")}


@operator.step(
    "Two Vaults, one namespace",
    minutes=8,
    goals=[
        "the second Vault has a secret lab04-pay/shop",
        "there is a VaultConnection second to https://second-vault.vault.svc:8200",
        "the operator finds VaultConnection second valid",
        "the VaultStaticSecret pay-jwt goes by way of second-jwt",
        "the Secret pay-jwt holds what the second Vault holds",
        "which Vault second-jwt logs in to stands in the VaultAuthGlobal payments alone",
        "the second Vault's log shows reads by log-ins of the jwt method",
        "and the first Vault was never asked for it",
        "in the same namespace the secret of the first Vault is synced, too",
    ],
    hints=[
        "`kubectl explain vaultauthglobal.spec` and `kubectl explain vaultauth.spec.jwt`. "
        "`second read auth/lab04-jwt/role/shop` shows Vault's side.",
        "The CA of the second Vault lies in the Secret `second-ca`. What every consumer shares "
        "stands in the VaultAuthGlobal; the VaultAuth says whose log-in it is.",
        "caCertSecretRef: second-ca; vaultConnectionRef: second; serviceAccount: shop; "
        "vaultAuthRef: second-jwt.",
    ],
)
def two_vaults(lab: LabContext) -> None:
    """
    The payments team has a Vault of its own: another address, another CA, another
    administrator. For the operator that is one more **VaultConnection**. Each secret goes by
    way of its VaultAuth to the Vault that it comes from, and the two Vaults know nothing of
    each other.

    The second Vault may not call our API server, so it does not use the kubernetes method. It
    uses **jwt**: Vault checks the signature of a service-account token with the cluster's
    public keys. Nothing is stored anywhere. Its price is that Vault does not learn when the
    pod or the account is deleted; the token's short life has to do.

    Which Vault, which mount, which role: that is the same for everybody who asks the payments
    team. A **VaultAuthGlobal** says it once. The VaultAuth `second-jwt` adds whose log-in it
    is, and nothing else.

    The shell function `second` is the `vault` command with the other Vault's address, CA and
    token.
    """
    lab.sh(r"""
second() {
  VAULT_ADDR=$SECOND_VAULT_ADDR VAULT_CACERT=$SECOND_VAULT_CACERT \
    VAULT_TOKEN=$SECOND_VAULT_TOKEN vault "$@"
}
second secrets enable -path=$NAMESPACE-pay -version=2 kv
head -c 12 /dev/urandom | base64 | tr -d '\n' |
  second kv put -mount=$NAMESPACE-pay shop password=-
second policy write $NAMESPACE-pay - <<EOF
path "$NAMESPACE-pay/data/shop"   { capabilities = ["read"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
EOF
second auth enable -path=$NAMESPACE-jwt jwt
kubectl create clusterrolebinding $NAMESPACE-discovery \
  --clusterrole=system:service-account-issuer-discovery --group=system:unauthenticated
ISSUER=$(kubectl get --raw /.well-known/openid-configuration |
  sed 's/.*"issuer":"\([^"]*\)".*/\1/')
second write auth/$NAMESPACE-jwt/config bound_issuer=$ISSUER \
  jwks_url=$API_SERVER/openid/v1/jwks \
  jwks_ca_pem="$(kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\.crt}')"
second write auth/$NAMESPACE-jwt/role/shop role_type=jwt user_claim=sub bound_audiences=vault \
  bound_subject=system:serviceaccount:$NAMESPACE:shop token_policies=$NAMESPACE-pay token_ttl=1h
kubectl create secret generic second-ca --from-file=ca.crt=$SECOND_VAULT_CACERT
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultConnection
metadata:
  name: second
spec:
  address: $SECOND_VAULT_POD_ADDR
  caCertSecretRef: second-ca  #? another Vault has another CA
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuthGlobal
metadata:
  name: payments
spec:
  vaultConnectionRef: second  #? to which Vault?
  defaultAuthMethod: jwt
  jwt:
    mount: $NAMESPACE-jwt
    role: shop
    audiences: [vault]
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata:
  name: second-jwt
spec:
  vaultAuthGlobalRef:
    name: payments
  jwt:
    serviceAccount: shop  #? whose log-in is it?
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: pay-jwt
spec:
  vaultAuthRef: second-jwt  #? which way does this secret come?
  type: kv-v2
  mount: $NAMESPACE-pay
  path: shop
  refreshAfter: 5s
  destination:
    name: pay-jwt
    create: true
""")
    lab.sh("""
kubectl wait vaultstaticsecret/pay-jwt --for=condition=SecretSynced --timeout=60s
kubectl get vaultconnection,vaultauthglobal,vaultauth,vaultstaticsecret
""")


@two_vaults.check
def _(lab: LabContext) -> None:
    second = second_vault(lab)
    path = f"{lab.path('pay')}/data/shop"
    expect(paid(lab), f"the second Vault has a secret {lab.path('pay')}/shop")
    connection = custom(lab, "VaultConnection", "second")
    expect(
        connection and connection["spec"]["address"] == second.pod_addr,
        f"there is a VaultConnection second to {second.pod_addr}",
        found=connection.get("spec"),
    )
    expect(
        is_valid(lab, "VaultConnection", "second"),
        "the operator finds VaultConnection second valid",
        found=status(lab, "VaultConnection", "second"),
    )
    expect_synced(lab, "pay-jwt", "second-jwt")
    spec = custom(lab, "VaultAuth", "second-jwt").get("spec") or {}
    shared = custom(lab, "VaultAuthGlobal", "payments").get("spec") or {}
    expect(
        (spec.get("vaultAuthGlobalRef") or {}).get("name") == "payments"
        and not spec.get("vaultConnectionRef")
        and shared.get("vaultConnectionRef") == "second",
        "which Vault second-jwt logs in to stands in the VaultAuthGlobal payments alone",
        found={"second-jwt": spec, "payments": shared},
    )
    expect(
        "jwt" in readers(lab),
        "the second Vault's log shows reads by log-ins of the jwt method",
        found=readers(lab),
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
    forget(lab, f"sys/mounts/{lab.path('pay')}", f"sys/auth/{lab.path('jwt')}")
    forget(lab, f"sys/policies/acl/{lab.path('pay')}")


def forget(lab: LabContext, *paths: str) -> None:
    """Delete these in the second Vault, which is in no inventory."""
    for path in paths:
        second_vault(lab).http.delete(f"/v1/{path}", allow={400, 404})
