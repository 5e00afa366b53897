"""Step 8: believing the cluster's signature instead of asking it."""

from __future__ import annotations

import json

from harness import expect
from harness.lab.api import LabContext
from labs.lab01_http_api.evidence import audit_hash, claims_of, refused_for_value, request_values
from labs.lab01_http_api.lab import http_api

# Where the pod app keeps the token of a pod that is no longer there.
KEPT = "/memory/gone.jwt"


@http_api.step(
    "Trust the cluster's signature: JWT and OIDC discovery",
    minutes=8,
    goals=[
        "an auth method of type jwt is enabled at lab01-jwt/",
        "the role app is for system:serviceaccount:lab01:app and the audience vault",
        "a token of the service account app logs in by its signature alone",
        "and gets the policy",
        "the pod app keeps a token that was made for another pod",
        "that other pod is gone",
        "the token of a deleted pod: refused by the kubernetes method (TokenReview)",
        "the same token: accepted by the jwt method until it expires",
    ],
    answer="kubernetes answers 403: its TokenReview asks the API server, and the pod is gone. jwt "
    "answers 200: it looks at the signature and the time alone.",
    hints=[
        "Can anybody fetch the keys? `kubectl auth can-i get /openid/v1/jwks "
        "--as=system:anonymous --as-group=system:unauthenticated`. What does the method know? "
        "`vault read auth/$NAMESPACE-jwt/config`.",
        "`iss`, `sub` and `aud` in the token are what the method must insist on: bound_issuer, "
        "bound_subject, bound_audiences. Step 5 showed the claims of the pod's token.",
        "name: system:service-account-issuer-discovery; name: system:unauthenticated; "
        '"bound_audiences": ["vault"]; "bound_subject": "system:serviceaccount:$NAMESPACE:app"',
    ],
)
def trust_the_issuer(lab: LabContext) -> None:
    """
    A service-account token is signed by the cluster, and the public keys are published
    like any OIDC provider publishes them. So Vault can check the **signature** by itself:
    no reviewer, no TokenReview, no call to the API server at login. The `jwt` auth method
    does that. It suits a Vault that cannot call the cluster's API server, or many clusters.

    The discovery document names the issuer (`iss` in every token) and where the keys are.
    A cluster of kind calls itself `https://kubernetes.default.svc.cluster.local`, which
    exists only inside. So tell Vault the address of the keys directly (`jwks_url`), and which
    issuer to insist on.

    What is lost? The signature stays valid until the token expires. The token of a pod
    that was **deleted** still logs in. With the kubernetes method it is refused at once.

    *Before you run the last cell: what will each of the two methods answer?*
    """
    lab.kubectl_apply("""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: $NAMESPACE-discovery
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:service-account-issuer-discovery
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: Group
  name: system:unauthenticated  #? the group of all who do not say who they are
---
apiVersion: v1
kind: Pod
metadata:
  name: gone
spec:
  serviceAccountName: app
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext:
    runAsNonRoot: true
    runAsUser: 1000
    seccompProfile: {type: RuntimeDefault}
  containers:
  - name: shell
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
kubectl get --raw /.well-known/openid-configuration | jq .
kubectl get --raw /openid/v1/jwks | jq -c '.keys[] | {kid, alg, use}'

api $VAULT_ADDR/v1/sys/auth/$NAMESPACE-jwt -d '{"type": "jwt"}'
ca=$(kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\.crt}')
kubectl get --raw /.well-known/openid-configuration |
  jq --arg keys "$API_SERVER/openid/v1/jwks" --arg ca "$ca" '{
    jwks_url: $keys,
    jwks_ca_pem: $ca,
    bound_issuer: .issuer  #?(.issuer) the issuer that the document names
  }' | api $VAULT_ADDR/v1/auth/$NAMESPACE-jwt/config -d @-
api $VAULT_ADDR/v1/auth/$NAMESPACE-jwt/role/app -d @- <<EOF
{"role_type": "jwt", "user_claim": "sub",
 "bound_audiences": ["vault"], #?(vault)
 "bound_subject": "system:serviceaccount:$NAMESPACE:app", #?(system:serviceaccount:$NAMESPACE:app)
 "token_policies": ["$NAMESPACE-app"], "token_ttl": "10m"}
EOF
api $VAULT_ADDR/v1/auth/$NAMESPACE-jwt/role/app |
  jq -c '.data | {bound_audiences, bound_subject, token_policies, token_ttl}'
""")
    lab.sh(r"""
log_in() {
  jq -R '{role: "app", jwt: .}' |
    curl -sS --cacert "$VAULT_CACERT" -w '%{http_code}' -d @- $VAULT_ADDR/v1/auth/$1/login |
    jq -sc '{status: .[1], says: (.[0].errors // .[0].auth.policies)}'
}
# The pod app keeps a copy of the other pod's token. Then the other pod ends.
kubectl create token app --audience=vault \
  --bound-object-kind=Pod --bound-object-name=gone |  #? the pod that the token ends with
  kubectl exec -i app -- tee /memory/gone.jwt > /dev/null
kubectl delete pod gone
for method in $NAMESPACE-kubernetes $NAMESPACE-jwt; do
  echo "$method:"
  kubectl exec app -- cat /memory/gone.jwt | log_in $method
done
""")


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
    claims = claims_of(lab, KEPT)
    pod = (claims.get("kubernetes.io") or {}).get("pod") or {}
    expect(
        pod and pod.get("name") != "app",
        "the pod app keeps a token that was made for another pod",
        found=pod or f"no token in {KEPT}",
    )
    expect(lab.kube.get("Pod", pod["name"]) is None, "that other pod is gone", found=pod)
    kept = lab.kube.exec("app", f"cat {KEPT}").strip()
    reviewed = f"auth/{lab.path('kubernetes')}/login"
    expect(
        refused_for_value(lab, reviewed, kept, "permission denied"),
        "the token of a deleted pod: refused by the kubernetes method (TokenReview)",
        found=sorted(set(lab.audit.refusals(reviewed))),
    )
    digest = audit_hash(lab, kept)
    accepted = [
        entry
        for entry in lab.audit.responses(f"auth/{method}/login")
        if digest in request_values(entry) and (entry.get("response") or {}).get("auth")
    ]
    expect(accepted, "the same token: accepted by the jwt method until it expires")
