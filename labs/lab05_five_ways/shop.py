"""Step 1: the secret in Vault, who may read it, and how a pod proves who it is."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kubernetes_auth import expect_role, logged_in
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.ways import HTTP, WAYS, secret_path, wanted_sum, way_in


@five_ways.step(
    "One application, one secret",
    minutes=3,
    goals=[
        "Vault has a password of the shop for each of the four ways",
        "the four passwords differ, so that a leak tells its way",
        "the auth method lab05-kubernetes has a role shop",
        "the role shop has token_policies = ['lab05-shop']",
        "a token of the service account shop logs in",
        "and reads its password",
    ],
    hints=[
        "A role of the kubernetes auth method says which service account of which namespace "
        "gets which policies: `vault path-help auth/$NAMESPACE-kubernetes/role/shop`.",
        "The policy's name is the one that `vault policy write` was given. KV version 2 has "
        "`data/` in its request paths.",
        "bound_service_account_names=shop, token_policies=$NAMESPACE-shop",
    ],
)
def prepare_the_shop(lab: LabContext) -> None:
    """
    The **shop** is an application that needs one password. In the next minutes it gets this
    password in five ways. The shop is the same each time, and so is its identity: the
    service account `shop`.

    First Vault's side, once for all ways: a place for secrets, a policy, and the kubernetes
    auth method. It trusts what the cluster says about a pod's token (lab 01 takes it apart).

    For each way the password has another value. Later we search the whole machine for them,
    and the value will tell which way it came.
    """
    lab.sh(r"""
vault secrets enable -path=$NAMESPACE-kv -version=2 kv
vault policy write $NAMESPACE-shop - <<EOF
path "$NAMESPACE-kv/data/shop/*" { capabilities = ["read"] }
EOF
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: ServiceAccount
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: guest}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reviewer}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: $NAMESPACE-reviewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects:
- {kind: ServiceAccount, name: reviewer, namespace: $NAMESPACE}
""")
    lab.sh(r"""
vault auth enable -path=$NAMESPACE-kubernetes kubernetes
kubectl create token reviewer --duration=24h | tr -d '\n' |
  vault write auth/$NAMESPACE-kubernetes/config token_reviewer_jwt=- \
    kubernetes_host=$API_SERVER \
    kubernetes_ca_cert="$(kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\.crt}')"
vault write auth/$NAMESPACE-kubernetes/role/shop \
  bound_service_account_names=shop \  #? the one account that may log in
  bound_service_account_namespaces=$NAMESPACE \
  audience=vault token_ttl=1h \
  token_policies=$NAMESPACE-shop  #? what it may do then: the policy of above
for way in http csi injector operator; do
  head -c 18 /dev/urandom | base64 | tr -d '\n' |
    vault kv put -mount=$NAMESPACE-kv shop/$way password=- | grep data/
done
""")


@prepare_the_shop.check
def _(lab: LabContext) -> None:
    ways = [way for way in WAYS if way.in_vault]
    sums = [wanted_sum(lab, way) for way in ways]
    expect(
        all(sums),
        "Vault has a password of the shop for each of the four ways",
        found=[way.name for way, sum_ in zip(ways, sums, strict=True) if sum_],
    )
    expect(len(set(sums)) == len(sums), "the four passwords differ, so that a leak tells its way")
    expect_role(lab, "shop", policies=[lab.path("shop")], account="shop")
    with logged_in(lab, "shop", "shop") as token:
        answer = lab.http.get(f"/v1/{secret_path(lab, HTTP)}", token=token, allow={403})
        expect(answer.status_code == 200, "and reads its password", found=answer.status_code)


@prepare_the_shop.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, HTTP)
