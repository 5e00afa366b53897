"""Step 1: Vault learns to know this cluster's pods, and holds something for them."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kubernetes_auth import expect_role, logged_in
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import API_AUDIENCE

# The secrets of this lab and their fields besides the password.
READABLE = ("app", "turning")


def way_in(lab: LabContext, role: str = "app") -> LoginPath:
    """How a pod of the account `app` gets in, as the steps of this lab diagnose it."""
    return LoginPath(
        mount=lab.path("kubernetes"),
        role=role,
        service_account="app",
        audience=API_AUDIENCE,
        reviewer="reviewer",
        secret=lab.path("kv", "data", "app"),
        fields=("password",),
    )


@injector.step(
    "Let the pods in",
    minutes=5,
    goals=[
        "there is a service account app",
        "the auth method lab03-kubernetes has a role app",
        "the role app has bound_service_account_names = ['app']",
        "the role app has bound_service_account_namespaces = ['lab03']",
        f"the role app has audience = {API_AUDIENCE}",
        "the role app has token_policies = ['lab03-app']",
        "a token of the service account app logs in",
        "with it the secret app can be read",
        "with it the secret turning can be read",
    ],
    hints=[
        "Lab 01 has each of these: an engine, a policy, the auth method with its configuration, "
        "a role. `vault path-help auth/lab03-kubernetes/role/app` lists the fields of a role.",
        "A policy names request paths, and those of KV version 2 have `data/` in them. "
        "`kubectl create token app` makes a token as a pod has it; its part `aud` is the audience.",
        "lab03-kv/data/app and lab03-kv/data/turning; --duration=24h; "
        f"bound_service_account_names=app; audience={API_AUDIENCE}; token_policies=lab03-app.",
    ],
)
def let_pods_in(lab: LabContext) -> None:
    """
    Lab 01 did this at leisure; here it is in one go. A key/value engine, a policy, and the
    [kubernetes auth method](https://developer.hashicorp.com/vault/docs/auth/kubernetes):
    Vault lets the cluster review the pod's token, and the role `app` says which service
    account gets what.

    Nothing is granted to the injector. It only rewrites pods; the agent that it puts there
    logs in with the **token of the pod itself**. That is the ordinary token which every pod
    has for the API server, so the role names the API server as its audience. Step 11 gives
    the agent a token for Vault alone, which is better.

    The passwords are random and go from one command to the next: nobody has seen them.
    """
    lab.kubectl_apply("""
apiVersion: v1
kind: ServiceAccount
metadata:
  name: app
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
  name: system:auth-delegator  #? lets an account have tokens reviewed
subjects:
- kind: ServiceAccount
  name: reviewer
  namespace: $NAMESPACE
""")
    lab.sh(r"""
vault secrets enable -path=$NAMESPACE-kv -version=2 kv
vault auth enable -path=$NAMESPACE-kubernetes kubernetes
vault write auth/$NAMESPACE-kubernetes/config \
  kubernetes_host=$API_SERVER \
  kubernetes_ca_cert="$(kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\.crt}')" \
  token_reviewer_jwt="$(kubectl create token reviewer --duration=24h)"
vault policy write $NAMESPACE-app - <<END
path "$NAMESPACE-kv/data/app" {
  capabilities = ["read"]
}
path "$NAMESPACE-kv/data/turning" {  #?($NAMESPACE-kv/data/turning) the secret turning
  capabilities = ["read"]
}
END
vault write auth/$NAMESPACE-kubernetes/role/app \
  bound_service_account_names=app \  #? the pod's account
  bound_service_account_namespaces=$NAMESPACE \
  audience=https://kubernetes.default.svc.cluster.local \
  token_policies=$NAMESPACE-app \  #? the policy from above
  token_ttl=20m token_max_ttl=1h
""")
    lab.sh(r"""
vault write -field=random_bytes sys/tools/random/12 format=hex |
  vault kv put -mount=$NAMESPACE-kv app username=shop password=-
vault write -field=random_bytes sys/tools/random/12 format=hex |
  vault kv put -mount=$NAMESPACE-kv turning password=-
vault read auth/$NAMESPACE-kubernetes/role/app
""")


@let_pods_in.check
def _(lab: LabContext) -> None:
    expect(lab.kube.get("ServiceAccount", "app"), "there is a service account app")
    expect_role(lab, "app", policies=[lab.path("app")], audience=API_AUDIENCE)
    # The proof: what an agent will do.
    with logged_in(lab, "app", audience=API_AUDIENCE) as token:
        for name in READABLE:
            read = lab.http.get(
                f"/v1/{lab.path('kv', 'data')}/{name}", token=token, allow={403, 404}
            )
            found = (read.json().get("data") or {}).get("data") or {}
            expect(
                found.get("password"),
                f"with it the secret {name} can be read",
                found=read.status_code,
                hint=f"the policy {lab.path('app')} names the path with data/ in it",
            )


@let_pods_in.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
