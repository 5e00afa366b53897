"""Step 7: the agent as the application's door to Vault."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kv import stored
from labs.lab03_injector.lab import injector
from labs.lab03_injector.pods import SECRETS, expect_running, show
from labs.lab03_injector.templates import parsed
from labs.lab03_injector.trust import way_in

LOCAL = "http://127.0.0.1:8200"


def creds(lab: LabContext) -> str:
    """Where the database users of this step come from; they live for minutes."""
    return lab.path("db", "creds", "lab03-long")


def ask_agent(lab: LabContext, path: str) -> dict[str, object]:
    """`data` of what the agent answers to a GET without any token; {} when it refuses."""
    text = show(lab, "door", f"curl -s --max-time 10 {LOCAL}/v1/{path}")
    data = parsed(text).get("data")
    return dict(data) if isinstance(data, dict) else {}


@injector.step(
    "Ask the agent instead of Vault",
    minutes=7,
    goals=[
        "the agent answers a request without a token, with the secret of Vault",
        "asked twice for a database user it gives the same one: its lease is cached",
        "what the role does not allow is refused through the agent, too",
        "the file /vault/secrets/token holds a token of the service account app",
    ],
    answer="403, as from Vault itself: the agent passes the request on with its own token, and the "
    "policy decides.",
    hints=[
        "`kubectl logs door -c vault-agent` says whether the agent listens, and at which address.",
        "Two annotations: one enables the cache and with it the listener, the other one injects "
        "the token. The listener is on port 8200 of the pod's own 127.0.0.1, without TLS.",
        'agent-cache-enable: "true"; agent-inject-token: "true"; '
        "http://127.0.0.1:8200/v1/$NAMESPACE-kv/data/app; token_policies=$NAMESPACE-app,"
        "$NAMESPACE-door.",
    ],
)
def ask_the_agent(lab: LabContext) -> None:
    """
    Some applications want more than files: they speak to Vault themselves. With
    `agent-cache-enable` the sidecar listens on 127.0.0.1 **of the pod** and passes requests
    on, with its own token put in (*auto-auth token*). The application has no login code,
    no token, no CA. Answers with a lease are
    [cached](https://developer.hashicorp.com/vault/docs/agent-and-proxy/agent/caching): an
    application that asks twice for a database user gets the same one, not two.

    The price: whatever runs in the pod can now ask for whatever the role allows. A file
    shows one secret, the listener shows them all. `agent-inject-token` writes the token
    into a file as well, for programs that insist on having one.

    Before you run it: what will the agent answer when the application asks for a path that
    the role does not allow?
    """
    lab.sh(r"""
vault write $NAMESPACE-db/roles/lab03-long db_name=shop \
  creation_statements="CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'
    VALID UNTIL '{{expiration}}' IN ROLE lab03_readers;" \
  revocation_statements='DROP ROLE IF EXISTS "{{name}}";' \
  default_ttl=5m
vault policy write $NAMESPACE-door - <<END
path "$NAMESPACE-db/creds/lab03-long" {
  capabilities = ["read"]
}
END
vault write auth/$NAMESPACE-kubernetes/role/door \
  bound_service_account_names=app \
  bound_service_account_namespaces=$NAMESPACE \
  audience=https://kubernetes.default.svc.cluster.local \
  token_policies=$NAMESPACE-app,$NAMESPACE-door \  #? both policies
  token_ttl=20m token_max_ttl=1h
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: door
  annotations:
    vault.hashicorp.com/agent-inject: "true"
    vault.hashicorp.com/role: door
    vault.hashicorp.com/auth-path: auth/$NAMESPACE-kubernetes
    vault.hashicorp.com/agent-cache-enable: "true"  #?(agent-cache-enable) listen and cache
    vault.hashicorp.com/agent-inject-token: "true"  #?(agent-inject-token) the token as a file
spec:
  serviceAccountName: app
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsUser: 1000, runAsGroup: 1000}
""")
    lab.sh(r"""
kubectl wait pod/door --for=condition=Ready --timeout=60s
ask() {
  kubectl exec door -c app -- \
    curl -s --retry 30 --retry-connrefused --retry-delay 1 http://127.0.0.1:8200/v1/$1
}
ask $NAMESPACE-kv/data/app | grep -o '"metadata":.*"version":[0-9]*'
ask $NAMESPACE-db/creds/lab03-long | grep -o '"username":"[^"]*"'
ask $NAMESPACE-db/creds/lab03-long | grep -o '"username":"[^"]*"'
ask sys/policies/acl/$NAMESPACE-app
kubectl exec door -c app -- ls -l /vault/secrets/token
""")


@ask_the_agent.check
def _(lab: LabContext) -> None:
    expect_running(lab, "door")
    found = ask_agent(lab, lab.path("kv", "data", "app")).get("data")
    expect(
        isinstance(found, dict) and found.get("password", "none") == stored(lab, "app"),
        "the agent answers a request without a token, with the secret of Vault",
        hint=f"agent-cache-enable; curl {LOCAL}/v1/{lab.path('kv', 'data', 'app')}",
    )
    users = [ask_agent(lab, creds(lab)).get("username") for _ in range(2)]
    expect(
        users[0] and users[0] == users[1],
        "asked twice for a database user it gives the same one: its lease is cached",
        found=users,
    )
    refused = show(lab, "door", f"curl -s {LOCAL}/v1/sys/policies/acl/{lab.path('app')}")
    expect(
        "permission denied" in refused,
        "what the role does not allow is refused through the agent, too",
        found=refused,
    )
    token = show(lab, "door", f"cat {SECRETS}/token 2>/dev/null")
    answer = lab.http.get("/v1/auth/token/lookup-self", token=token or "none", allow={403})
    seen = answer.json().get("data") or {}
    expect(
        (seen.get("meta") or {}).get("service_account_name") == "app"
        and lab.path("app") in seen.get("policies", []),
        "the file /vault/secrets/token holds a token of the service account app",
        found={"status": answer.status_code, "policies": seen.get("policies")},
        hint="agent-inject-token",
    )


@ask_the_agent.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "door")
