"""Step 2: Vault learns to know this cluster's pods, and holds something for them."""

from __future__ import annotations

import base64

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import service_account, way_in

# What the service account app may read in this lab, by the name of the secret.
SECRETS = ("app", "shared")


@csi.step(
    "Let the pods in",
    hints=[
        "As in lab 01: engine `lab02-kv` (KV version 2), policy `lab02-app` that may read "
        "`lab02-kv/data/app` and `lab02-kv/data/shared`, auth method `lab02-kubernetes` with "
        "kubernetes_host, kubernetes_ca_cert and token_reviewer_jwt.",
        "The role app: bound to service account app in lab02, audience `vault`, token_policies "
        "`lab02-app`, token_ttl 10m. The secret app has username, password and encoded (base64 "
        "of a value); shared has password. `lab.secret(name)` makes values.",
    ],
)
def let_pods_in(lab: LabContext) -> None:
    """
    Lab 01 did this at leisure; here it is in one go. A key/value engine with two secrets, a
    policy that may read both, and the **kubernetes auth method**: Vault has the pod's token
    reviewed by the cluster, and the role `app` says which service account gets what.

    Notice what is *not* here: nothing is granted to the driver or to the provider. Vault has
    no role for them. They will come with the token of the pod whose volume they fill, and
    get what that pod may have.

    The audience `vault` is the one that the CSIDriver object asks kubelet for.
    """
    kv = lab.path("kv")
    lab.http.post(f"/v1/sys/mounts/{kv}", json={"type": "kv", "options": {"version": "2"}})
    encoded = base64.b64encode(lab.secret("decoded").encode()).decode()
    for name, fields in {
        "app": {"username": "shop", "password": lab.secret("app"), "encoded": encoded},
        "shared": {"password": lab.secret("shared")},
    }.items():
        lab.http.post(f"/v1/{kv}/data/{name}", json={"data": fields})
    policy = "\n".join(
        f'path "{kv}/data/{name}" {{ capabilities = ["read"] }}' for name in ("app", "shared")
    )
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('app')}", json={"policy": policy})

    # Who vouches for the pods: the cluster, asked with a token of the account reviewer.
    for account in ("app", "reviewer"):
        lab.kube.apply(service_account(account))
    lab.kube.apply(f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {lab.path("reviewer")}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}}
subjects: [{{kind: ServiceAccount, name: reviewer, namespace: {lab.namespace}}}]
""")
    method = lab.path("kubernetes")
    lab.http.post(f"/v1/sys/auth/{method}", json={"type": "kubernetes"})
    lab.http.post(
        f"/v1/auth/{method}/config",
        json={
            "kubernetes_host": lab.access.api_server,
            "kubernetes_ca_cert": lab.kube.ca_certificate(),
            "token_reviewer_jwt": lab.kube.create_token("reviewer", seconds=24 * 3600),
        },
    )
    make_role(lab, "app", policies=[lab.path("app")])


def make_role(
    lab: LabContext,
    name: str,
    *,
    policies: list[str],
    account: str = "app",
    audience: str = "vault",
    namespace: str = "",
) -> None:
    """A role of this lab's kubernetes auth method for one service account."""
    lab.http.post(
        f"/v1/auth/{lab.path('kubernetes')}/role/{name}",
        json={
            "bound_service_account_names": [account],
            "bound_service_account_namespaces": [namespace or lab.namespace],
            "audience": audience,
            "token_policies": policies,
            "token_ttl": "10m",
        },
    )


@let_pods_in.check
def _(lab: LabContext) -> None:
    mounts = lab.http.get("/v1/sys/mounts").json()["data"]
    version = ((mounts.get(f"{lab.path('kv')}/") or {}).get("options") or {}).get("version")
    expect(version == "2", f"a key/value engine, version 2, is at {lab.path('kv')}/", found=version)
    for name, fields in (("app", {"username", "password", "encoded"}), ("shared", {"password"})):
        answer = lab.http.get(f"/v1/{lab.path('kv', 'data', name)}", allow={404})
        data = (answer.json().get("data") or {}).get("data") or {}
        expect(fields <= set(data), f"the secret {name} has {sorted(fields)}", found=sorted(data))
    method = lab.path("kubernetes")
    answer = lab.http.get(f"/v1/auth/{method}/role/app", allow={404})
    role = answer.json().get("data") or {}
    wanted = {
        "bound_service_account_names": ["app"],
        "bound_service_account_namespaces": [lab.namespace],
        "audience": "vault",
        "token_policies": [lab.path("app")],
    }
    for field, value in wanted.items():
        expect(
            role.get(field) == value, f"the role app has {field} = {value}", found=role.get(field)
        )
    # Only a log-in shows that the cluster answers Vault's question, and a read that it is enough.
    token = lab.kube.create_token("app", audience="vault")
    login = lab.http.post(
        f"/v1/auth/{method}/login", json={"role": "app", "jwt": token}, token="", allow={400, 403}
    )
    expect(
        login.status_code == 200,
        "Vault lets the service account app in",
        found=login.text if login.status_code != 200 else None,
    )
    got = login.json()["auth"]["client_token"]
    for name in SECRETS:
        answer = lab.http.get(f"/v1/{lab.path('kv', 'data', name)}", token=got, allow={403, 404})
        expect(answer.status_code == 200, f"it may read {name}", found=answer.status_code)
    lab.http.post("/v1/auth/token/revoke-self", token=got)


@let_pods_in.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "app", "password")
