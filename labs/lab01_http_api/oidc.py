"""Step 7: believing the cluster's signature instead of asking it."""

from __future__ import annotations

import json

from harness import expect
from harness.lab.api import LabContext
from labs.lab01_http_api.lab import http_api
from labs.lab01_http_api.pods import curl_pod


@http_api.step(
    "Log in without a reviewer: JWT and OIDC discovery",
    hints=[
        "The API server publishes its issuer and its public keys: GET "
        "`/.well-known/openid-configuration` and `/openid/v1/jwks` (`kubectl get --raw`). Vault "
        "may fetch the keys once ClusterRole `system:service-account-issuer-discovery` is bound "
        "to the group `system:unauthenticated`.",
        "Auth method type `jwt` at `lab01-jwt`; its config: jwks_url (on lab.access.api_server), "
        "jwks_ca_pem, bound_issuer. Role `app`: role_type jwt, user_claim sub, bound_audiences "
        "vault, bound_subject system:serviceaccount:lab01:app.",
        "Then the difference: copy the token of a pod, delete the pod, log in by both methods, "
        "and keep both status codes in `lab.notes['deleted_pod']` as "
        "`{'kubernetes': ..., 'jwt': ...}`.",
    ],
)
def trust_the_issuer(lab: LabContext) -> None:
    """
    A service-account token is signed by the cluster, and the public keys are published
    like any OIDC provider publishes them. So Vault can check the **signature** by itself:
    no reviewer, no TokenReview, no call to the API server at login. The `jwt` auth method
    does that. It suits a Vault that the cluster may not call back, or many clusters.

    The discovery document names the issuer (`iss` in every token) and where the keys are.
    A cluster of kind calls itself `https://kubernetes.default.svc.cluster.local`, which
    exists only inside; Vault gets the address of the keys directly (`jwks_url`) and is
    told which issuer to insist on.

    And what is lost? The signature stays valid until the token expires. The token of a pod
    that was **deleted** still logs in. With the kubernetes method it is refused at once.
    """
    lab.kube.apply(f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {lab.path("discovery")}}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:service-account-issuer-discovery
subjects:
- {{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:unauthenticated"}}
""")
    discovery = json.loads(lab.run("kubectl get --raw /.well-known/openid-configuration"))

    method = lab.path("jwt")
    lab.http.post(f"/v1/sys/auth/{method}", json={"type": "jwt"})
    lab.http.post(
        f"/v1/auth/{method}/config",
        json={
            "jwks_url": f"{lab.access.api_server}/openid/v1/jwks",
            "jwks_ca_pem": lab.kube.ca_certificate(),
            "bound_issuer": discovery["issuer"],
        },
    )
    lab.http.post(
        f"/v1/auth/{method}/role/app",
        json={
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": ["vault"],
            "bound_subject": f"system:serviceaccount:{lab.namespace}:app",
            "token_policies": [lab.path("app")],
            "token_ttl": "10m",
        },
    )

    lab.kube.apply(curl_pod(lab, "gone", service_account="app"))
    lab.kube.wait_for_pod("gone")
    copied = lab.kube.exec("gone", "cat /identity/token")
    lab.kube.delete("Pod", "gone", grace=0)
    lab.wait_for("the pod to be gone", lambda: not lab.kube.get("Pod", "gone"))
    status = {}
    for name in ("kubernetes", "jwt"):
        login = {"role": "app", "jwt": copied}
        answer = lab.http.post(
            f"/v1/auth/{lab.path(name)}/login", json=login, token="", allow={403}
        )
        status[name] = answer.status_code
    lab.notes["deleted_pod"] = status


@trust_the_issuer.check
def _(lab: LabContext) -> None:
    method = lab.path("jwt")
    methods = lab.http.get("/v1/sys/auth").json()["data"]
    found = (methods.get(f"{method}/") or {}).get("type")
    expect(found == "jwt", f"an auth method of type jwt is enabled at {method}/", found=found)
    config = lab.http.get(f"/v1/auth/{method}/config", allow={400, 404}).json().get("data") or {}
    issuer = json.loads(lab.run("kubectl get --raw /.well-known/openid-configuration"))["issuer"]
    expect(
        config.get("bound_issuer") == issuer,
        f"it insists on the issuer that the cluster's discovery document names, {issuer}",
        found=config.get("bound_issuer"),
    )
    role = lab.http.get(f"/v1/auth/{method}/role/app", allow={404}).json().get("data") or {}
    wanted = f"system:serviceaccount:{lab.namespace}:app"
    expect(
        role.get("bound_audiences") == ["vault"] and role.get("bound_subject") == wanted,
        f"the role app is for {wanted} and the audience vault",
        found={name: role.get(name) for name in ("bound_audiences", "bound_subject")},
    )
    token = lab.kube.create_token("app", audience="vault")
    login = lab.http.post(
        f"/v1/auth/{method}/login", json={"role": "app", "jwt": token}, allow={400, 403, 500}
    )
    expect(
        login.status_code == 200,
        "a token of the service account app logs in by its signature alone",
        found=login.text if login.status_code != 200 else None,
        hint="can Vault fetch the keys? The group system:unauthenticated must be bound to "
        "system:service-account-issuer-discovery",
    )
    made = login.json()["auth"]
    lab.http.post("/v1/auth/token/revoke-accessor", json={"accessor": made["accessor"]})
    expect(lab.path("app") in made["token_policies"], "and gets the policy", found=made["policies"])
    seen = lab.notes.get("deleted_pod", {})
    expect(
        seen.get("kubernetes") == 403,
        "the token of a deleted pod: refused by the kubernetes method (TokenReview)",
        found=seen or "no lab.notes['deleted_pod']",
    )
    expect(
        seen.get("jwt") == 200,
        "the same token: accepted by the jwt method until it expires",
        found=seen,
    )
