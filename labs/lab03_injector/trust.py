"""Step 1: Vault learns to know this cluster's pods, and holds something for them."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit import kubernetes_auth
from harness.lab.kit.kubernetes_auth import expect_role, logged_in, trust_cluster
from harness.lab.kit.pods import service_account
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
    kubernetes_auth.make_role(
        lab,
        name,
        policies=policies,
        namespaces=[namespace or lab.namespace],
        audience=audience,
        ttl="20m",
        max_ttl="1h",
    )


@injector.step(
    "Let the pods in",
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
    lab.kube.apply(service_account("app"))
    trust_cluster(lab)
    make_role(lab, "app", [lab.path("app")])


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
