"""Step 7: no reviewer token in Vault: each client vouches for itself."""

from __future__ import annotations

import json

from harness import expect
from harness.lab.api import LabContext
from labs.lab01_http_api.evidence import refused_for_value
from labs.lab01_http_api.lab import http_api


@http_api.step(
    "Log in without a reviewer token",
    minutes=6,
    further=True,
    goals=[
        "an auth method is enabled at lab01-own/",
        "it keeps no reviewer token and uses none of Vault's own pod",
        "the account delegate may have tokens reviewed, the account app may not",
        "delegate logged in: its own token asked for the review",
        "app was refused: its token may not ask",
        "a token for the audience vault was refused: the API server does not take it",
        "delegate still logs in, and app is still refused",
    ],
    hints=[
        "What does the method know? `vault read auth/$NAMESPACE-own/config`. Who may have tokens "
        "reviewed? `kubectl auth can-i create tokenreviews "
        "--as=system:serviceaccount:$NAMESPACE:delegate`.",
        "The token that logs in is the one that asks the API server. So its account needs the "
        "ClusterRole system:auth-delegator, and its audience must be the API server's own: that "
        "is what `kubectl create token` makes when you name no audience.",
        '"disable_local_ca_jwt": true; name: system:auth-delegator; kubectl create token delegate',
    ],
)
def own_token_reviews(lab: LabContext) -> None:
    """
    Where does Vault take the credential for the TokenReview from? There are three answers:

    | Vault has | it asks with | you must |
    |---|---|---|
    | `token_reviewer_jwt` (step 4) | that token | renew it before it ends |
    | no such token, and runs in the cluster | the token of its own pod | bind its account |
    | no such token, `disable_local_ca_jwt` | the token that logs in | bind each client's account |

    The second is what most people have: the Helm chart runs Vault as a pod and binds its
    service account to `system:auth-delegator`. kubelet renews that pod's token, so nothing
    ends. The configuration is one line, `kubernetes_host: https://kubernetes.default.svc`.

    The third needs no secret in Vault at all and works from outside. Its price: every client
    may review tokens, and its token must be one that the API server itself accepts. So it
    cannot have the audience `vault`, and if Vault lost it, the finder could use it in the
    cluster. Look at the two refusals.
    """
    lab.kubectl_apply("""
apiVersion: v1
kind: ServiceAccount
metadata:
  name: delegate
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: $NAMESPACE-delegate
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:auth-delegator  #? the role that may create TokenReviews
subjects:
- kind: ServiceAccount
  name: delegate
  namespace: $NAMESPACE
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
api $VAULT_ADDR/v1/sys/auth/$NAMESPACE-own -d '{"type": "kubernetes"}'
ca=$(kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\.crt}')
jq -n --arg host "$API_SERVER" --arg ca "$ca" '{
  kubernetes_host: $host,
  kubernetes_ca_cert: $ca,
  disable_local_ca_jwt: true  #?(true) do not look for a token of Vault's own pod
}' | api $VAULT_ADDR/v1/auth/$NAMESPACE-own/config -d @-
for role in app strict; do
  audience=vault
  if [ $role = app ]; then audience=https://kubernetes.default.svc.cluster.local; fi
  api $VAULT_ADDR/v1/auth/$NAMESPACE-own/role/$role -d @- <<EOF
{"bound_service_account_names": ["app", "delegate"],
 "bound_service_account_namespaces": ["$NAMESPACE"],
 "audience": "$audience", "token_ttl": "1m"}
EOF
done
""")
    lab.sh(r"""
log_in() {
  jq -R --arg role "$1" '{role: $role, jwt: .}' |
    curl -sS --cacert "$VAULT_CACERT" -w '%{http_code}' -d @- \
      $VAULT_ADDR/v1/auth/$NAMESPACE-own/login |
    jq -sc '{status: .[1], says: (.[0].errors // .[0].auth.metadata.service_account_name)}'
}
echo "An account that may have tokens reviewed, a token for the API server:"
kubectl create token delegate | log_in app  #?(delegate) the account that you bound
echo "An account that may not:"
kubectl create token app | log_in app
echo "A token that the API server does not take:"
kubectl create token delegate --audience=vault | log_in strict
""")


@own_token_reviews.check
def _(lab: LabContext) -> None:
    mount = lab.path("own")
    found = lab.http.get("/v1/sys/auth").json()["data"].get(f"{mount}/") or {}
    expect(found.get("type") == "kubernetes", f"an auth method is enabled at {mount}/", found=found)
    answer = lab.http.get(f"/v1/auth/{mount}/config", allow={400, 404, 500})
    config = answer.json().get("data") or {}
    expect(
        config.get("disable_local_ca_jwt") and not config.get("token_reviewer_jwt_set"),
        "it keeps no reviewer token and uses none of Vault's own pod",
        found={key: config.get(key) for key in ("disable_local_ca_jwt", "token_reviewer_jwt_set")},
    )
    may = {account: _may_review(lab, account) for account in ("delegate", "app")}
    expect(
        may == {"delegate": True, "app": False},
        "the account delegate may have tokens reviewed, the account app may not",
        found=may,
    )
    login = f"auth/{mount}/login"
    accounts = {
        ((entry.get("auth") or {}).get("metadata") or {}).get("service_account_name")
        for entry in lab.audit.responses(login)
    }
    expect("delegate" in accounts, "delegate logged in: its own token asked for the review")
    for role, what in (
        ("app", "app was refused: its token may not ask"),
        ("strict", "a token for the audience vault was refused: the API server does not take it"),
    ):
        expect(refused_for_value(lab, login, role, "permission denied"), what)
    status = {account: _login_status(lab, account) for account in ("delegate", "app")}
    expect(
        status == {"delegate": 200, "app": 403},
        "delegate still logs in, and app is still refused",
        found=status,
    )


def _may_review(lab: LabContext, account: str) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{lab.namespace}:{account}",
            "resourceAttributes": {
                "group": "authentication.k8s.io",
                "resource": "tokenreviews",
                "verb": "create",
            },
        },
    }
    said = lab.run("kubectl create -o json -f -", stdin=json.dumps(review))
    return bool(json.loads(said)["status"]["allowed"])


def _login_status(lab: LabContext, account: str) -> int:
    """The status of a login with a token that the API server takes; a Vault token is revoked."""
    answer = lab.http.post(
        f"/v1/auth/{lab.path('own')}/login",
        json={"role": "app", "jwt": lab.kube.create_token(account)},
        token="",
        allow={400, 403, 500},
    )
    if answer.status_code == 200:
        made = answer.json()["auth"]
        lab.http.post("/v1/auth/token/revoke-self", token=made["client_token"])
    return answer.status_code
