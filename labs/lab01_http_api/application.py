"""Step 14: an application that does all of this itself, and what that costs."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import expect
from harness.lab.api import GaveUp, LabContext, LoginPath
from labs.lab01_http_api.lab import http_api
from labs.lab01_http_api.trust import way_in

SOURCE = Path(__file__).parent / "app" / "service.py"
RULER = "# ──"
# A token's maximum and a little more, on a machine that is busy.
PATIENCE_SECONDS = 40.0


def lines_for_vault() -> int:
    """How many lines of the program are there only to live with Vault."""
    between = SOURCE.read_text(encoding="utf-8").split(RULER)[1]
    return sum(1 for line in between.splitlines()[1:] if line.strip())


def ask(lab: LabContext) -> dict[str, Any]:
    """What the running service says about itself; {} while it does not answer."""
    text = lab.kube.exec("service", "curl -s --max-time 3 http://127.0.0.1:8080/ || true")
    return dict(json.loads(text)) if text else {}


@http_api.step(
    "An application that does all this itself",
    minutes=8,
    goals=[
        "there is a pod service",
        "it was never restarted",
        "it answers on its port 8080",
        "it renewed its token, and logged in again when that was not possible any more",
        "it has worked under different database users, one after the other",
        "and the database knew it by them",
    ],
    hints=[
        "What does the service say? `kubectl exec service -- curl -s http://127.0.0.1:8080/`; "
        "`last_error` and `kubectl logs service` tell what it stumbles over.",
        "The program reads its role's name nowhere: it is `service`, in Vault's auth method and in "
        "the database engine. Its policy must let it make a user and renew the lease.",
        'path "$NAMESPACE-db/creds/service" with "read", path "sys/leases/renew" with "update"; '
        '"token_max_ttl": "14s"; default_ttl: "5s"',
    ],
)
def application(lab: LabContext) -> None:
    """
    So far you typed the requests. Here is a small service that makes them itself, in Python
    with **hvac**: it logs in, **renews** its token and its lease after two thirds of their
    time, **logs in again** when the token has reached its maximum, takes a **new database
    user** when the old one cannot be renewed, and goes on working all the while, in one
    process that is never restarted. Lives are short here so that you see it within seconds.

    Read the program: the cell prints it. What stands between its two rulers is there for
    Vault alone, and it is the *easy* version: no cache, one secret, one language. It must
    know Vault's address, its CA, the auth mount, the role and the paths; every team writes
    it again, and gets the failures right, or does not.

    That is the price of the direct approach. The next three labs let somebody else pay
    it: a CSI driver, a sidecar, an operator.
    """
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
jq -n '{
  db_name: "shop",
  creation_statements: ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD \u0027{{password}}\u0027
    VALID UNTIL \u0027{{expiration}}\u0027 IN ROLE lab01_readers;"],
  revocation_statements: ["DROP ROLE IF EXISTS \"{{name}}\";"],
  default_ttl: "5s",
  max_ttl: "9s"
}' | api $VAULT_ADDR/v1/$NAMESPACE-db/roles/service -d @-
jq -Rs '{policy: .}' <<EOF | api -X PUT $VAULT_ADDR/v1/sys/policies/acl/$NAMESPACE-service -d @-
path "$NAMESPACE-db/creds/service" { capabilities = ["read"] }  #?(creds/service) a user is made
path "sys/leases/renew" { capabilities = ["update"] }  #?(update) and kept
EOF
api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/role/service -d @- <<EOF
{"bound_service_account_names": ["app"], "bound_service_account_namespaces": ["$NAMESPACE"],
 "audience": "vault", "token_policies": ["$NAMESPACE-service"],
 "token_ttl": "6s",
 "token_max_ttl": "14s"} #?(14s)
EOF
""")
    lab.sh("""
cat "$LAB/app/service.py"
kubectl create configmap service --from-file="$LAB/app/service.py"
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata:
  name: service
spec:
  serviceAccountName: app
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext:
    runAsNonRoot: true
    runAsUser: 1000
    seccompProfile: {type: RuntimeDefault}
  containers:
  - name: service
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [python3, /program/service.py]
    env:
    - {name: VAULT_ADDR, value: "https://vault.vault.svc:8200"}
    - {name: AUTH_MOUNT, value: $NAMESPACE-kubernetes}
    - {name: DATABASE_ENGINE, value: $NAMESPACE-db}
    - {name: DATABASE_HOST, value: postgres.database.svc}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
    - {name: program, mountPath: /program}
    - {name: identity, mountPath: /identity, readOnly: true}
    - {name: vault-ca, mountPath: /vault-ca, readOnly: true}
  volumes:
  - name: program
    configMap: {name: service}
  - name: identity
    projected:
      sources:
      - serviceAccountToken:
          path: token
          audience: vault  #? for whom the token is made
          expirationSeconds: 600
  - name: vault-ca
    configMap: {name: vault-ca}
""")
    lab.sh(r"""
kubectl wait pod/service --for=condition=Ready --timeout=60s
# How often has it logged in, renewed, changed its user? Ask again in a quarter of a minute.
kubectl exec service -- curl -s --retry 9 --retry-connrefused http://127.0.0.1:8080/ | jq .
""")


@application.check
def _(lab: LabContext) -> None:
    pod = lab.kube.get("Pod", "service") or {}
    expect(pod, "there is a pod service")
    lab.kube.wait_for_pod("service", timeout=30)
    status = pod["status"]["containerStatuses"][0]
    expect(status["restartCount"] == 0, "it was never restarted", found=status["restartCount"])
    with suppress(GaveUp):
        lab.wait_for(
            "the service to have logged in twice and changed its database user",
            lambda: (said := ask(lab)) and said["logins"] >= 2 and said["rotations"] >= 1,
            timeout=PATIENCE_SECONDS,
        )
    state = ask(lab)
    expect(state, "it answers on its port 8080", hint="kubectl logs service")
    expect(
        state["logins"] >= 2 and state["renewals"] >= 1,
        "it renewed its token, and logged in again when that was not possible any more",
        found={name: state[name] for name in ("logins", "renewals", "last_error") if name in state},
        hint="token_ttl 6s and token_max_ttl 14s at the role service; wait half a minute",
    )
    expect(
        state["rotations"] >= 1 and len(set(state["database_users"])) >= 2,
        "it has worked under different database users, one after the other",
        found=state["database_users"],
    )
    expect(
        state["queries"] > 0 and state.get("database_says") in state["database_users"],
        "and the database knew it by them",
        found={name: state.get(name) for name in ("queries", "database_says", "last_error")},
    )
    expect(
        lines_for_vault() > 50,
        f"the price: {lines_for_vault()} lines that do nothing but live with Vault",
    )


@application.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, role="service", pod="service", secret=lab.path("db", "creds", "service"))
