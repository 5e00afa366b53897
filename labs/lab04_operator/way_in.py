"""Step 1: Vault's side: a secret, who may read it, and a log-in for service accounts."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kubernetes_auth import expect_role, logged_in
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import kv


def way_in(lab: LabContext) -> LoginPath:
    """How the account `shop` gets in, as the steps that use it diagnose it."""
    return LoginPath(
        mount=lab.path("kubernetes"), role="shop", service_account="shop", reviewer="reviewer"
    )


@operator.step(
    "Let the shop into Vault",
    minutes=6,
    goals=[
        "Vault has a secret lab04-kv/shop/app with username and password",
        "the auth method lab04-kubernetes has a role shop",
        "the role shop has bound_service_account_names = ['shop']",
        "the role shop has bound_service_account_namespaces = ['lab04', 'lab04-leaving']",
        "the role shop has audience = vault",
        "the role shop has token_policies = ['lab04-shop', 'lab04-orders', 'lab04-pki']",
        "a token of the service account shop logs in",
        "it may read lab04-kv/data/shop/app, and not lab04-kv/data/team/app",
    ],
    hints=[
        "Lab 01 did the same over HTTP. `vault kv put -help`, `vault policy write -help` and "
        "`vault path-help auth/lab04-kubernetes/role/shop` name the fields.",
        "A policy names the path of the request, and requests for KV version 2 have `data` "
        "behind the mount. The role names the service account, and the audience for which the "
        "operator asks for its token.",
        'username=shop; path "$NAMESPACE-kv/data/shop/*"; '
        "bound_service_account_names=shop; audience=vault.",
    ],
)
def let_the_shop_in(lab: LabContext) -> None:
    """
    In lab 01 every application spoke to Vault. In this lab one program does it for all: the
    **Vault Secrets Operator**. It reads Vault and writes Kubernetes Secrets.

    The operator gets no account in Vault. For each consumer it asks the API server for a
    short token of *that consumer's* service account, and logs in with it. So Vault needs
    nothing new: a secret, a policy, and the kubernetes auth method of lab 01.

    The policy has three lines more than a reader needs. The operator renews and revokes
    **leases** in the name of the consumer, and ends log-ins that it no longer uses.

    Two of the policies of the role do not exist yet. That is allowed; later steps write them.
    """
    lab.sh(r"""
vault secrets enable -path=$NAMESPACE-kv -version=2 kv
head -c 12 /dev/urandom | base64 | tr -d '\n' |
  vault kv put -mount=$NAMESPACE-kv shop/app username=shop password=-  #?(username=shop) the user
vault policy write $NAMESPACE-shop - <<EOF
path "$NAMESPACE-kv/data/shop/*"  { capabilities = ["read"] }  #?(data) what comes here?
path "$NAMESPACE-old/*"           { capabilities = ["read"] }
path "sys/leases/renew"           { capabilities = ["update"] }
path "sys/leases/revoke"          { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
EOF
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: ServiceAccount
metadata:
  name: shop
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: reviewer
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: $NAMESPACE-reviewer
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:auth-delegator
subjects:
- kind: ServiceAccount
  name: reviewer
  namespace: $NAMESPACE
""")
    lab.sh(r"""
vault auth enable -path=$NAMESPACE-kubernetes kubernetes
kubectl create token reviewer --duration=24h | tr -d '\n' |
  vault write auth/$NAMESPACE-kubernetes/config kubernetes_host=$API_SERVER \
    kubernetes_ca_cert="$(kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\.crt}')" \
    token_reviewer_jwt=-
vault write auth/$NAMESPACE-kubernetes/role/shop \
  bound_service_account_names=shop \  #? whose tokens may log in?
  bound_service_account_namespaces=$NAMESPACE,$NAMESPACE-leaving \
  audience=vault \  #? for whom is the token made?
  token_policies=$NAMESPACE-shop,$NAMESPACE-orders,$NAMESPACE-pki token_ttl=1h
vault read auth/$NAMESPACE-kubernetes/role/shop
""")


@let_the_shop_in.check
def _(lab: LabContext) -> None:
    stored = kv(lab, "shop/app")
    expect(
        set(stored) == {"username", "password"},
        f"Vault has a secret {lab.path('kv')}/shop/app with username and password",
        found=sorted(stored),
    )
    expect_role(
        lab,
        "shop",
        policies=[lab.path("shop"), lab.path("orders"), lab.path("pki")],
        account="shop",
        namespaces=[lab.namespace, lab.path("leaving")],
    )
    own, other = lab.path("kv", "data", "shop/app"), lab.path("kv", "data", "team/app")
    with logged_in(lab, "shop", "shop") as token:
        answers = [
            lab.http.get(f"/v1/{path}", token=token, allow={403, 404}).status_code
            for path in (own, other)
        ]
    expect(answers == [200, 403], f"it may read {own}, and not {other}", found=answers)


@let_the_shop_in.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
