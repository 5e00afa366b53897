"""Step 4: Vault learns to ask the cluster who a token belongs to."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
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
    minutes=10,
    goals=[
        "an auth method is enabled at lab01-kubernetes/",
        "it verifies the API server with the cluster's CA",
        "it has a reviewer token of its own",
        "the role app has bound_service_account_names = ['app']",
        "the role app has bound_service_account_namespaces = ['lab01']",
        "the role app has audience = vault",
        "the role app has token_policies = ['lab01-app']",
        "the role app has token_ttl = 600",
        "the role app has token_max_ttl = 3600",
        "there is a service account reviewer",
        "Vault can have a token reviewed by the cluster",
    ],
    hints=[
        "Read back what you wrote: `vault read auth/$NAMESPACE-kubernetes/config`, `vault read "
        "auth/$NAMESPACE-kubernetes/role/app`. Which fields did Vault ignore? Its answer to a "
        "write says so, under `warnings`.",
        "Which ClusterRole may create TokenReviews? `kubectl describe clusterrole "
        "system:auth-delegator`. The pod's token was made for one audience in step 1; the role "
        "must name the same one. Policies of the token are `token_policies`.",
        "name: system:auth-delegator; kubectl create token reviewer --duration=24h; "
        '"audience": "vault", "token_policies": ["$NAMESPACE-app"]',
    ],
)
def trust_cluster(lab: LabContext) -> None:
    """
    The **kubernetes auth method** turns a service-account token into a Vault token. Vault
    does not believe the token by itself: it asks the API server with a *TokenReview*. This
    Vault runs outside the cluster. It needs an address to ask at, the CA certificate of the
    API server, and a credential for the question. Here that is a **reviewer token**: a token
    of an account that may review others (the ClusterRole `system:auth-delegator`).

    The reviewer token is optional. Without one Vault asks with the token of its own pod, if
    it runs in the cluster; that is what the Helm chart sets up, and what most people have.
    Or it asks with the very token that wants to log in: step 7 does that.

    This reviewer token ends after 24 hours. From then on every login is refused with
    `permission denied`, whoever comes. Somebody must bring a new one before that.

    The **role** then says which service account in which namespace gets which policies. It
    also names the audience that the pod's token must be made for.

    One trap: a field whose name is misspelt is *not* refused. Vault answers 200, and warns:
    `Endpoint ignored these unrecognized parameters`. The first attempt below says `policies_`
    and `audiences`: the role grants nothing and accepts any audience. So look for `warnings`
    in the answer, and read back what you wrote. The fields are called `token_policies` and
    `audience`.
    """
    lab.kubectl_apply("""
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
  name: system:auth-delegator  #? the role that may create TokenReviews
subjects:
- kind: ServiceAccount
  name: reviewer  #? the account whose token Vault asks with
  namespace: $NAMESPACE
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
api $VAULT_ADDR/v1/sys/auth/$NAMESPACE-kubernetes -d '{"type": "kubernetes"}'
ca=$(kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\.crt}')
kubectl create token reviewer --duration=24h |  #?(reviewer) the account whose token Vault asks with
  jq -R --arg host "$API_SERVER" --arg ca "$ca" \
    '{kubernetes_host: $host, kubernetes_ca_cert: $ca, token_reviewer_jwt: .}' |
  api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/config -d @-
api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/config | jq '.data | del(.kubernetes_ca_cert)'
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
# Two names are misspelt here. What does Vault say?
api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/role/app -d @- <<EOF | jq .warnings
{"bound_service_account_names": ["app"], "bound_service_account_namespaces": ["$NAMESPACE"],
 "audiences": "vault", "policies_": ["$NAMESPACE-app"]}
EOF
# Once more. The names that Vault ignored must be right this time.
api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/role/app -d @- <<EOF
{"bound_service_account_names": ["app"], "bound_service_account_namespaces": ["$NAMESPACE"],
 "audience": "vault", #?("audience": -> "audiences":)
 "token_policies": ["$NAMESPACE-app"], #?("token_policies": -> "policies_":)
 "token_ttl": "10m", "token_max_ttl": "1h"}
EOF
api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/role/app |
  jq '.data | {bound_service_account_names, bound_service_account_namespaces, audience,
               token_policies, token_ttl, token_max_ttl}'
""")


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
        hint="127.0.0.1 would be Vault's own container: take $API_SERVER",
    )
    expect(
        settings["kubernetes_ca_cert"].strip() == lab.kube.ca_certificate().strip(),
        "it verifies the API server with the cluster's CA",
        hint="kubernetes_ca_cert: the ConfigMap kube-root-ca.crt has it in every namespace",
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
            hint="Vault ignores a misspelt field and says so under `warnings`: compare the names",
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
