"""Step 21: two more ways to log in, for what has no service account."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import custom
from labs.lab04_operator.two_vaults import expect_synced, forget, readers


@operator.step(
    "Two worse ways to log in",
    minutes=5,
    further=True,
    goals=[
        "second-copied logs in with a token from a Secret",
        "second-role logs in with an AppRole",
        "the Secret pay-copied holds what the second Vault holds",
        "the Secret pay-role holds what the second Vault holds",
        "the second Vault's log shows reads by log-ins of the approle method",
    ],
    hints=[
        "`kubectl explain vaultauth.spec.jwt.secretRef` and `kubectl explain "
        "vaultauth.spec.appRole` say which key the Secret must have.",
        "The copied token lies under the key `jwt` of its Secret, the secret id under `id`.",
        "secretRef: copied-token; secretRef: secret-id; method: appRole.",
    ],
)
def worse_ways(lab: LabContext) -> None:
    """
    Not everything has a service account. Two other ways in, and what they cost:

    - **jwt from a Secret**: a token that somebody put there. It runs out in an hour, and then
      the log-in fails. Who renews it?
    - **appRole**: a role id, and a *secret id* that lies in a Kubernetes Secret. It is a
      password to get passwords. For machines that have no identity, it is what there is.
    """
    lab.sh(r"""
second() {
  VAULT_ADDR=$SECOND_VAULT_ADDR VAULT_CACERT=$SECOND_VAULT_CACERT \
    VAULT_TOKEN=$SECOND_VAULT_TOKEN vault "$@"
}
second auth enable -path=$NAMESPACE-approle approle
second write auth/$NAMESPACE-approle/role/shop token_policies=$NAMESPACE-pay token_ttl=1h
second write -f -field=secret_id auth/$NAMESPACE-approle/role/shop/secret-id | tr -d '\n' |
  kubectl create secret generic secret-id --from-file=id=/dev/stdin
kubectl create token shop --audience=vault --duration=1h | tr -d '\n' |
  kubectl create secret generic copied-token --from-file=jwt=/dev/stdin
ROLE_ID=$(second read -field=role_id auth/$NAMESPACE-approle/role/shop/role-id)
kubectl apply -f - <<EOF
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata:
  name: second-copied
spec:
  vaultConnectionRef: second
  method: jwt
  mount: $NAMESPACE-jwt
  jwt:
    role: shop
    secretRef: copied-token  #? the Secret with the token
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata:
  name: second-role
spec:
  vaultConnectionRef: second
  method: appRole  #? the other auth method
  mount: $NAMESPACE-approle
  appRole:
    roleId: $ROLE_ID
    secretRef: secret-id  #? the Secret with the secret id
EOF
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: pay-copied
spec:
  vaultAuthRef: second-copied
  type: kv-v2
  mount: $NAMESPACE-pay
  path: shop
  refreshAfter: 5s
  destination:
    name: pay-copied
    create: true
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: pay-role
spec:
  vaultAuthRef: second-role
  type: kv-v2
  mount: $NAMESPACE-pay
  path: shop
  refreshAfter: 5s
  destination:
    name: pay-role
    create: true
""")
    lab.sh("""
kubectl wait vaultstaticsecret/pay-copied --for=condition=SecretSynced --timeout=60s
kubectl wait vaultstaticsecret/pay-role --for=condition=SecretSynced --timeout=60s
kubectl get vaultauth,vaultstaticsecret
""")


@worse_ways.check
def _(lab: LabContext) -> None:
    copied, role = (
        custom(lab, "VaultAuth", name).get("spec") or {}
        for name in ("second-copied", "second-role")
    )
    expect(
        (copied.get("jwt") or {}).get("secretRef"),
        "second-copied logs in with a token from a Secret",
        found=copied,
    )
    expect(role.get("method") == "appRole", "second-role logs in with an AppRole", found=role)
    expect_synced(lab, "pay-copied", "second-copied")
    expect_synced(lab, "pay-role", "second-role")
    expect(
        "approle" in readers(lab),
        "the second Vault's log shows reads by log-ins of the approle method",
        found=readers(lab),
    )


@worse_ways.undo
def _(lab: LabContext) -> None:
    forget(lab, f"sys/auth/{lab.path('approle')}")
