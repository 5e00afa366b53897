"""Step 1: Vault learns to know this cluster's pods, and holds something for them."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
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


def make_role(
    lab: LabContext,
    name: str,
    policies: list[str],
    *,
    namespace: str = "",
    audience: str = API_AUDIENCE,
) -> None:
    """A role of this lab's auth method for the service account `app`."""
    lab.http.post(
        f"/v1/auth/{lab.path('kubernetes')}/role/{name}",
        json={
            "bound_service_account_names": ["app"],
            "bound_service_account_namespaces": [namespace or lab.namespace],
            "audience": audience,
            "token_policies": policies,
            "token_ttl": "20m",
            "token_max_ttl": "1h",
        },
    )


def account(name: str, namespace: str = "") -> dict[str, object]:
    """A ServiceAccount."""
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, **where}}


@injector.step(
    "Let the pods in",
    hints=[
        "As in lab 01: engine `lab03-kv` (KV version 2) with secrets app (username, password) "
        "and turning (password), policy `lab03-app` that may read both, auth method "
        "`lab03-kubernetes` with kubernetes_host, kubernetes_ca_cert and token_reviewer_jwt.",
        "`make_role(lab, 'app', [lab.path('app')])` makes the role. Its audience is that of the "
        "token which every pod has: `API_AUDIENCE`. The passwords are `lab.secret('app')` and "
        "`lab.secret('turning-1')`.",
    ],
)
def let_pods_in(lab: LabContext) -> None:
    """
    Lab 01 did this at leisure; here it is in one go. A key/value engine, a policy, and the
    **kubernetes auth method**: Vault has a pod's token reviewed by the cluster, and the role
    `app` says which service account gets what.

    Nothing is granted to the injector. It only rewrites pods; the agent that it puts there
    logs in with the **token of the pod itself**. That is the ordinary token which every pod
    has for the API server, so the role names the API server as its audience. Step 11 gives
    the agent a token for Vault alone, which is better.
    """
    kv = lab.path("kv")
    lab.http.post(f"/v1/sys/mounts/{kv}", json={"type": "kv", "options": {"version": "2"}})
    password = {"username": "shop", "password": lab.secret("app")}
    lab.http.post(f"/v1/{kv}/data/app", json={"data": password})
    lab.http.post(f"/v1/{kv}/data/turning", json={"data": {"password": lab.secret("turning-1")}})
    policy = "\n".join(
        f'path "{kv}/data/{name}" {{ capabilities = ["read"] }}' for name in READABLE
    )
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('app')}", json={"policy": policy})

    # Who vouches for the pods: the cluster, asked with a token of the account reviewer.
    lab.kube.apply(account("app"))
    lab.kube.apply(account("reviewer"))
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
    make_role(lab, "app", [lab.path("app")])


@let_pods_in.check
def _(lab: LabContext) -> None:
    method = lab.path("kubernetes")
    expect(lab.kube.get("ServiceAccount", "app"), "there is a service account app")
    role = lab.http.get(f"/v1/auth/{method}/role/app", allow={400, 404}).json().get("data") or {}
    expect(role, f"there is a role app of {method}")
    for field, value in {
        "bound_service_account_names": ["app"],
        "bound_service_account_namespaces": [lab.namespace],
        "audience": API_AUDIENCE,
        "token_policies": [lab.path("app")],
    }.items():
        expect(
            role.get(field) == value,
            f"the role app has {field} = {value}",
            found=role.get(field),
            hint="a misspelt field is dropped without an error: compare the names",
        )
    # The proof: what an agent will do. Then the token is given back.
    answer = lab.http.post(
        f"/v1/auth/{method}/login",
        json={"role": "app", "jwt": lab.kube.create_token("app", audience=API_AUDIENCE)},
        token="",
        allow={400, 403, 500},
    )
    expect(
        answer.status_code == 200,
        "a token of the service account app logs in",
        found=answer.json().get("errors"),
    )
    token = answer.json()["auth"]["client_token"]
    try:
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
    finally:
        lab.http.post("/v1/auth/token/revoke-self", token=token)


@let_pods_in.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
