"""Step 2: Vault learns to know this cluster's pods, and holds something for them."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kubernetes_auth import expect_role, logged_in
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import way_in

# What the service account app may read in this lab, by the name of the secret.
SECRETS = ("app", "shared")


@csi.step(
    "Let the pods in",
    minutes=5,
    goals=[
        "a key/value engine, version 2, is at lab02-kv/",
        "the secret app has ['encoded', 'password', 'username']",
        "the secret shared has ['password']",
        "the auth method lab02-kubernetes has a role app",
        "the role app has bound_service_account_names = ['app']",
        "the role app has bound_service_account_namespaces = ['lab02']",
        "the role app has audience = vault",
        "the role app has token_policies = ['lab02-app']",
        "a token of the service account app logs in",
        "it may read app",
        "it may read shared",
    ],
    hints=[
        "Lab 01 has each of these: an engine, a policy, the auth method with its configuration, "
        "a role. `vault path-help auth/lab02-kubernetes/role/app` lists the fields of a role.",
        "A policy names request paths, and those of KV version 2 have `data/` in them. The "
        "audience is the one that `kubectl get csidriver secrets-store.csi.k8s.io -o yaml` shows.",
        "system:auth-delegator; lab02-kv/data/shared; bound_service_account_names=app; "
        "audience=vault; token_policies=lab02-app.",
    ],
)
def let_pods_in(lab: LabContext) -> None:
    """
    Lab 01 did this at leisure; here it is in one go. A key/value engine with two secrets, a
    policy that may read both, and the
    [kubernetes auth method](https://developer.hashicorp.com/vault/docs/auth/kubernetes): Vault
    lets the cluster review the pod's token, and the role `app` says which service account
    gets what.

    Notice what is *not* here: nothing is granted to the driver or to the provider. Vault has
    no role for them. They will come with the token of the pod whose volume they fill, and
    get what that pod may have.

    The audience `vault` is the one that the CSIDriver object asks kubelet for. The passwords
    are random and go from one command to the next: nobody has seen them.
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
path "$NAMESPACE-kv/data/shared" {  #?($NAMESPACE-kv/data/shared) the secret shared
  capabilities = ["read"]
}
END
vault write auth/$NAMESPACE-kubernetes/role/app \
  bound_service_account_names=app \  #? the pod's account
  bound_service_account_namespaces=$NAMESPACE \
  audience=vault \  #? what the CSIDriver asks for
  token_policies=$NAMESPACE-app \
  token_ttl=10m
""")
    lab.sh(r"""
random() { vault write -field=random_bytes sys/tools/random/12 format=hex; }
random | vault kv put -mount=$NAMESPACE-kv app \
  username=shop password=- encoded=$(random | base64)
random | vault kv put -mount=$NAMESPACE-kv shared password=-
vault read auth/$NAMESPACE-kubernetes/role/app
""")


@let_pods_in.check
def _(lab: LabContext) -> None:
    mounts = lab.http.get("/v1/sys/mounts").json()["data"]
    version = ((mounts.get(f"{lab.path('kv')}/") or {}).get("options") or {}).get("version")
    expect(version == "2", f"a key/value engine, version 2, is at {lab.path('kv')}/", found=version)
    for name, fields in (("app", {"username", "password", "encoded"}), ("shared", {"password"})):
        answer = lab.http.get(f"/v1/{lab.path('kv', 'data', name)}", allow={404})
        data = (answer.json().get("data") or {}).get("data") or {}
        expect(fields <= set(data), f"the secret {name} has {sorted(fields)}", found=sorted(data))
    expect_role(lab, "app", policies=[lab.path("app")])
    # Only a log-in shows that the cluster answers Vault's question, and a read that it is enough.
    with logged_in(lab, "app") as token:
        for name in SECRETS:
            answer = lab.http.get(
                f"/v1/{lab.path('kv', 'data', name)}", token=token, allow={403, 404}
            )
            expect(answer.status_code == 200, f"it may read {name}", found=answer.status_code)


@let_pods_in.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "app", "password")
