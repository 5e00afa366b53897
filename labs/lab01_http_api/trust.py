"""Step 4: Vault learns to ask the cluster who a token belongs to."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.pods import service_account
from labs.lab01_http_api.lab import http_api


def way_in(
    lab: LabContext,
    role: str = "app",
    pod: str = "",
    secret: str = "",
    fields: tuple[str, ...] = (),
) -> LoginPath:
    """How the account `app` gets in, as the steps that log in diagnose it."""
    return LoginPath(
        mount=lab.path("kubernetes"),
        role=role,
        service_account="app",
        reviewer="reviewer",
        pod=pod,
        secret=secret,
        fields=fields,
    )


@http_api.step(
    "Let Vault trust the cluster",
    hints=[
        "Vault must be able to ask the cluster whether a token is genuine. That takes a "
        "service account which may create TokenReviews (`system:auth-delegator`), and its token.",
        "POST `/v1/sys/auth/lab01-kubernetes` (type `kubernetes`), then its `/config` with "
        "kubernetes_host, kubernetes_ca_cert and token_reviewer_jwt.",
        "The role: POST `/v1/auth/lab01-kubernetes/role/app` with bound_service_account_names, "
        "bound_service_account_namespaces, audience, token_policies, token_ttl and "
        "token_max_ttl. Read it back: a misspelt field is dropped without an error.",
    ],
)
def trust_cluster(lab: LabContext) -> None:
    """
    The **kubernetes auth method** turns a service-account token into a Vault token. Vault
    does not believe the token by itself: it asks the API server with a *TokenReview*. This
    Vault runs outside the cluster, so it needs three things to ask: the address, the CA
    certificate of the API server, and a token of its own whose account may review others
    (the ClusterRole `system:auth-delegator`).

    The **role** then says which service account in which namespace gets which policies. It
    also names the audience that the pod's token must be made for.

    One trap: a field whose name is misspelt is *not* an error. The first attempt below says
    `policies_` and `audiences`; Vault takes it, and the role grants nothing and accepts
    any audience. So read back what you wrote.
    """
    lab.kube.apply(service_account("reviewer"))
    lab.kube.apply(f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {lab.path("reviewer")}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}}
subjects: [{{kind: ServiceAccount, name: reviewer, namespace: {lab.namespace}}}]
""")
    lab.http.post(f"/v1/sys/auth/{lab.path('kubernetes')}", json={"type": "kubernetes"})
    lab.http.post(
        f"/v1/auth/{lab.path('kubernetes')}/config",
        json={
            "kubernetes_host": lab.access.api_server,
            "kubernetes_ca_cert": lab.kube.ca_certificate(),
            "token_reviewer_jwt": lab.kube.create_token("reviewer", seconds=24 * 3600),
        },
    )
    role = {
        "bound_service_account_names": ["app"],
        "bound_service_account_namespaces": [lab.namespace],
        "token_ttl": "10m",
        "token_max_ttl": "1h",
    }
    address = f"/v1/auth/{lab.path('kubernetes')}/role/app"
    lab.http.post(address, json={**role, "policies_": [lab.path("app")], "audiences": "vault"})
    stored = lab.http.get(address).json()["data"]
    expect(
        not stored["token_policies"] and not stored.get("audience"),
        "the misspelt fields were dropped without an error: the role grants nothing",
    )
    lab.http.post(address, json={**role, "token_policies": [lab.path("app")], "audience": "vault"})


@trust_cluster.check
def _(lab: LabContext) -> None:
    name = lab.path("kubernetes")
    methods = lab.http.get("/v1/sys/auth").json()["data"]
    expect(
        f"{name}/" in methods,
        f"an auth method is enabled at {name}/",
        found=sorted(method for method in methods if method.startswith("lab")),
    )
    answer = lab.http.get(f"/v1/auth/{name}/config", allow={400, 404, 500})
    settings = answer.json().get("data") or {}
    expect(settings, "it is configured", hint=f"POST /v1/auth/{name}/config")
    expect(
        settings["kubernetes_host"] == lab.access.api_server,
        f"it asks this cluster's API server, {lab.access.api_server}",
        found=settings["kubernetes_host"],
        hint="127.0.0.1 would be Vault's own container: take lab.access.api_server",
    )
    expect(
        settings["kubernetes_ca_cert"].strip() == lab.kube.ca_certificate().strip(),
        "it verifies the API server with the cluster's CA",
        hint="kubernetes_ca_cert is lab.kube.ca_certificate()",
    )
    # An older server (OpenBao 2.6) does not tell whether a reviewer token is set.
    expect(settings.get("token_reviewer_jwt_set", True), "it has a reviewer token of its own")
    role = lab.http.get(f"/v1/auth/{name}/role/app", allow={404}).json().get("data") or {}
    wanted = {
        "bound_service_account_names": ["app"],
        "bound_service_account_namespaces": [lab.namespace],
        "audience": "vault",
        "token_policies": [lab.path("app")],
        "token_ttl": 600,
        "token_max_ttl": 3600,
    }
    for field, value in wanted.items():
        expect(
            role.get(field) == value,
            f"the role app has {field} = {value}",
            found=role.get(field),
            hint="a misspelt field is dropped without an error: compare the names",
        )
    expect(lab.kube.get("ServiceAccount", "reviewer"), "there is a service account reviewer")
    # Only a login shows that the reviewer is heard: this one fails after the TokenReview.
    token = lab.kube.create_token("reviewer", audience="vault")
    probe = f"/v1/auth/{name}/role/{lab.path('probe')}"
    lab.http.post(probe, json={**wanted, "bound_service_account_names": ["reviewer"]})
    login = lab.http.post(
        f"/v1/auth/{name}/login",
        json={"role": lab.path("probe"), "jwt": token},
        allow={400, 403, 500},
    )
    lab.http.delete(probe)
    expect(
        login.status_code == 200,
        "Vault can have a token reviewed by the cluster",
        found=login.text if login.status_code != 200 else None,
        hint="permission denied here means: the reviewer token is dead or has no "
        "system:auth-delegator",
    )
    accessor = login.json()["auth"]["accessor"]
    lab.http.post("/v1/auth/token/revoke-accessor", json={"accessor": accessor})


@trust_cluster.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
