"""Step 6: seven ways to be refused, each for its own reason."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab01_http_api.evidence import claims_of, refused, refused_for_value
from labs.lab01_http_api.lab import http_api
from labs.lab01_http_api.trust import way_in

# Where the pod app keeps the token of a pod that is no longer there.
KEPT = "/memory/short-lived.jwt"

# The words of the auth plug-in that tell one refusal from the others.
WORDS = {
    "another account": "service account name not authorized",
    "another namespace": "namespace not authorized",
    "another audience": "invalid audience",
}


@http_api.step(
    "Be refused, for the right reason",
    minutes=10,
    goals=[
        "another account was refused: service account name not authorized",
        "another namespace was refused: namespace not authorized",
        "another audience was refused: invalid audience",
        "an unknown role was refused: invalid role name",
        "the pod app keeps a token that was made for another pod",
        "that other pod is gone",
        "the token of the pod that is gone was refused: permission denied",
        "a reviewer that may not review was refused: permission denied",
        "the powerless reviewer may still not review",
        "a Vault token was refused after it had revoked itself",
    ],
    answer="403. The signature is good and the time is not up, but the TokenReview says that the "
    "pod is gone.",
    hints=[
        "Read what Vault says in each answer: the same status with another text is another "
        "mistake. `kubectl create token ACCOUNT --audience=vault` makes a token for any account.",
        "The role `elsewhere` must be for a namespace that the account app is not in. A token "
        "that is bound to a pod dies with the pod: `kubectl delete pod short-lived`. A reviewer "
        "without rights is any account that nobody bound to system:auth-delegator.",
        "kubectl create token intruder --audience=vault; "
        '"bound_service_account_namespaces": ["elsewhere"]; '
        "--bound-object-kind=Pod --bound-object-name=short-lived; kubectl create token powerless; "
        "auth/token/revoke-self",
    ],
)
def be_refused(lab: LabContext) -> None:
    """
    A refusal is a message. Provoke seven and read what Vault says.

    | attempt | status | says |
    |---|---|---|
    | another service account, another namespace, another audience | 403 | which of them |
    | a role that does not exist | 400 | its name |
    | the token of a pod that is gone; a reviewer that may not review | 403 | `permission denied` |
    | a Vault token that was revoked | 403 | `permission denied` |

    Why are the last three so mute? The cluster answered the review with *no*, or could not
    be asked, and Vault does not tell a stranger which. When you see a bare
    `permission denied` at login, look at Vault's side first: is the reviewer token still
    alive, may its account review, is the address right? The token of a deleted pod is
    refused at once: that is what the TokenReview buys you. (A token that the API server has
    just seen is good for ten seconds more: it remembers its answer for so long.)

    *Before you run the second cell: the token of the pod `short-lived` is valid for an hour.
    What will Vault say to it after the pod was deleted?*
    """
    lab.sh(r"""
api() { curl -sS --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
log_in() {
  jq -R --arg role "$1" '{role: $role, jwt: .}' |
    curl -sS --cacert "$VAULT_CACERT" -w '%{http_code}' -d @- \
      $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/login |
    jq -sc '{status: .[1], says: .[0].errors}'
}

echo "1. Another service account"
kubectl create serviceaccount intruder
kubectl create token intruder --audience=vault | log_in app  #?(intruder) an account of another name

echo "2. Another namespace"
api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/role/elsewhere -d '{
  "bound_service_account_names": ["app"],
  "bound_service_account_namespaces": ["elsewhere"], #?(elsewhere)
  "audience": "vault"
}'
kubectl create token app --audience=vault | log_in elsewhere

echo "3. Another audience"
kubectl create token app --audience=https://elsewhere.example |  #? an audience of another name
  log_in app

echo "4. Another role"
kubectl create token app --audience=vault | log_in no-such-role
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: short-lived
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
log_in() {
  jq -R --arg role "$1" '{role: $role, jwt: .}' |
    curl -sS --cacert "$VAULT_CACERT" -w '%{http_code}' -d @- \
      $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/login |
    jq -sc '{status: .[1], says: .[0].errors}'
}

# A token that is bound to a pod, as kubelet makes them. The pod app keeps a copy of it.
kubectl create token app --audience=vault \
  --bound-object-kind=Pod --bound-object-name=short-lived |  #? the pod that it ends with
  kubectl exec -i app -- tee /memory/short-lived.jwt > /dev/null

echo "5. A pod that is gone"
kubectl delete pod short-lived
kubectl exec app -- cat /memory/short-lived.jwt | log_in app
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }

echo "6. A reviewer that may not review"
kubectl create serviceaccount powerless
api $VAULT_ADDR/v1/sys/auth/$NAMESPACE-powerless -d '{"type": "kubernetes"}'
ca=$(kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\.crt}')
kubectl create token powerless |  #?(powerless) its account was bound to no ClusterRole
  jq -R --arg host "$API_SERVER" --arg ca "$ca" \
    '{kubernetes_host: $host, kubernetes_ca_cert: $ca, token_reviewer_jwt: .}' |
  api $VAULT_ADDR/v1/auth/$NAMESPACE-powerless/config -d @-
api $VAULT_ADDR/v1/auth/$NAMESPACE-powerless/role/app -d @- <<EOF
{"bound_service_account_names": ["app"], "bound_service_account_namespaces": ["$NAMESPACE"],
 "audience": "vault"}
EOF
kubectl create token app --audience=vault | jq -R '{role: "app", jwt: .}' |
  api $VAULT_ADDR/v1/auth/$NAMESPACE-powerless/login -d @- || true
""")
    lab.sh(r"""
kubectl exec -i app -- bash <<'EOF'
api() { curl -sS --fail-with-body --cacert /vault-ca/ca.crt -H "X-Vault-Token: $token" "$@"; }
token=$(jq -R '{role: "app", jwt: .}' /identity/token |
  api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/login -d @- | jq -r .auth.client_token)
api $VAULT_ADDR/v1/$NAMESPACE-kv/data/app | jq -c .data.metadata.version

echo "7. A Vault token that was revoked"
api -X POST $VAULT_ADDR/v1/auth/token/revoke-self  #?(revoke-self) end it by itself
api $VAULT_ADDR/v1/$NAMESPACE-kv/data/app
true
EOF
""")


@be_refused.check
def _(lab: LabContext) -> None:
    login = f"auth/{lab.path('kubernetes')}/login"
    for attempt, words in WORDS.items():
        expect(
            refused(lab, login, words),
            f"{attempt} was refused: {words}",
            found=sorted(set(lab.audit.refusals(login))),
            hint="the same status with another text is another mistake",
        )
    expect(
        refused(lab, login, 'invalid role name "no-such-role"'),
        "an unknown role was refused: invalid role name",
        hint='log in with the role "no-such-role"',
    )
    claims = claims_of(lab, KEPT)
    pod = (claims.get("kubernetes.io") or {}).get("pod") or {}
    expect(
        pod and pod.get("name") != "app",
        "the pod app keeps a token that was made for another pod",
        found=pod or f"no token in {KEPT}",
    )
    expect(lab.kube.get("Pod", pod["name"]) is None, "that other pod is gone", found=pod)
    token = lab.kube.exec("app", f"cat {KEPT}").strip()
    expect(
        refused_for_value(lab, login, token, "permission denied"),
        "the token of the pod that is gone was refused: permission denied",
        hint="log in with it after its pod was deleted",
    )
    mount = lab.path("powerless")
    expect(
        refused(lab, f"auth/{mount}/login", "permission denied"),
        "a reviewer that may not review was refused: permission denied",
        found=lab.audit.refusals(f"auth/{mount}/login"),
    )
    bound = [
        subject
        for binding in lab.kube.list("ClusterRoleBinding")
        for subject in binding.get("subjects") or []
        if (subject.get("namespace"), subject["name"]) == (lab.namespace, "powerless")
    ]
    expect(not bound, "the powerless reviewer may still not review", found=bound)
    ended = {
        entry["request"].get("client_token")
        for entry in lab.audit.responses("auth/token/revoke-self")
    }
    late = [
        entry
        for entry in refused(lab, lab.path("kv", "data", "app"), "permission denied")
        if entry["request"].get("client_token") in ended
    ]
    expect(
        late,
        "a Vault token was refused after it had revoked itself",
        hint="log in, read, revoke-self, then read again with the same token",
    )


@be_refused.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
