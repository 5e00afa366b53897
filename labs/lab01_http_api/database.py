"""Step 11: database users that exist for minutes, one for each pod."""

from __future__ import annotations

from typing import Any

import psycopg

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab01_http_api.lab import http_api
from labs.lab01_http_api.trust import way_in

# The password that the step types for Vault's account. Root rotation makes it worthless.
TYPED = "typed-by-hand"

# What a pod runs to log in to the database with the user that it was given.
RECONNECT = """
PGPASSWORD="$(cat /memory/db-password)" python3 -c '
import os, psycopg
psycopg.connect(host=os.environ["DATABASE_HOST"], dbname="shop",
                user=open("/memory/db-user").read(), connect_timeout=3).close()
'
"""


@http_api.step(
    "Database users that live for minutes",
    minutes=12,
    goals=[
        "a database engine is mounted at lab01-db/",
        "it is connected to the database shop",
        "the database has a user lab01_vault for Vault",
        "its first password is worth nothing any more: only Vault knows the present one",
        "the database knew pod shop by a user that Vault had made",
        "the database knew pod second by a user that Vault had made",
        "the two pods had different users",
        "the user of pod shop exists",
        "its lease was renewed: it lives longer than the five minutes it was born with",
        "the user of pod second is gone: its lease was revoked",
        "and the database refuses the password that pod second still holds",
        "a lease of two seconds ran out, and its user is gone",
    ],
    hints=[
        "What does the engine know? `vault read $NAMESPACE-db/config/shop`, `vault read "
        "$NAMESPACE-db/roles/app`. Which users are there? `docker exec $POSTGRES psql -U postgres "
        "shop -c '\\du'`. What did a pod get? `kubectl exec shop -- ls /memory`.",
        "A user is made by reading `creds/ROLE`; the policy must name that path. Every answer has "
        "a `lease_id`: renew it with an `increment`, or revoke it.",
        'rotate-root/shop; path "$NAMESPACE-db/creds/app"; "increment": "8m"; sys/leases/renew for '
        "pod shop, sys/leases/revoke for pod second",
    ],
)
def database_users(lab: LabContext) -> None:
    """
    A password that many know and nobody changes is the usual database password. Vault
    makes **one user for each reader**, when it is asked, for as long as the **lease** runs:
    it holds an account that may create users, and drops them again.

    - **Root rotation** first: Vault changes the password of its own account. The one that
      you typed is worth nothing any more; now not even the administrator knows it.
    - Two pods get two users. When one leaks, you know which, and revoke that one alone.
    - A lease is **renewed** to live on (up to its maximum) or **revoked** to end now. When
      it ends Vault drops the user, and the *database* refuses, whoever kept the password.

    `creation_statements` is what Vault will say to the database; it fills in the words in
    `{{ }}`. (`sslmode=disable`, because the labs' database has no certificate. Yours should
    have one: with `sslmode=verify-full` the password of Vault's account travels under TLS.)
    """
    lab.sh(r"""
# The database: a table, an account for Vault that may create users, a group that may read.
docker exec -i $POSTGRES psql -q -v ON_ERROR_STOP=1 -U postgres shop <<'EOF'
CREATE TABLE lab01_orders (id int, item text);
INSERT INTO lab01_orders VALUES (1, 'book'), (2, 'lamp');
CREATE ROLE lab01_vault LOGIN CREATEROLE PASSWORD 'typed-by-hand';
CREATE ROLE lab01_readers ADMIN lab01_vault;
GRANT SELECT ON lab01_orders TO lab01_readers;
EOF
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
api $VAULT_ADDR/v1/sys/mounts/$NAMESPACE-db -d '{"type": "database"}'
api $VAULT_ADDR/v1/$NAMESPACE-db/config/shop -d @- <<EOF
{"plugin_name": "postgresql-database-plugin",
 "connection_url": "postgresql://{{username}}:{{password}}@$POSTGRES:5432/shop?sslmode=disable",
 "username": "lab01_vault",
 "password": "typed-by-hand",
 "allowed_roles": ["app", "brief", "service"]}
EOF
# From now on only Vault knows the password of its account.
api -X POST $VAULT_ADDR/v1/$NAMESPACE-db/rotate-root/shop  #?(rotate-root) change it

for role in app brief; do
  jq -n --arg ttl $([ $role = app ] && echo 5m || echo 2s) '{
    db_name: "shop",
    creation_statements: ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD \u0027{{password}}\u0027
      VALID UNTIL \u0027{{expiration}}\u0027 IN ROLE lab01_readers;"],
    revocation_statements: ["DROP ROLE IF EXISTS \"{{name}}\";"],
    default_ttl: $ttl,
    max_ttl: "10m"
  }' | api $VAULT_ADDR/v1/$NAMESPACE-db/roles/$role -d @-
done
api $VAULT_ADDR/v1/$NAMESPACE-db/roles/app | jq .data
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
# Who may have such a user: the service account app, by a role of its own.
jq -Rs '{policy: .}' <<EOF | api -X PUT $VAULT_ADDR/v1/sys/policies/acl/$NAMESPACE-db -d @-
path "$NAMESPACE-db/creds/app" { capabilities = ["read"] }  #?(creds/app) where a user is made
EOF
api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/role/shop -d @- <<EOF
{"bound_service_account_names": ["app"], "bound_service_account_namespaces": ["$NAMESPACE"],
 "audience": "vault", "token_policies": ["$NAMESPACE-db"], "token_ttl": "10m"}
EOF
""")
    lab.kubectl_apply(file="manifests/shop.yaml")
    lab.sh("kubectl wait pod/shop pod/second --for=condition=Ready --timeout=60s")
    lab.sh(r"""
for pod in shop second; do
  kubectl exec -i $pod -- bash -e -o pipefail <<'EOF'
api() { curl -sS --fail-with-body --cacert /vault-ca/ca.crt "$@"; }
token=$(jq -R '{role: "shop", jwt: .}' /identity/token |
  api $VAULT_ADDR/v1/auth/$NAMESPACE-kubernetes/login -d @- | jq -r .auth.client_token)
api -H "X-Vault-Token: $token" $VAULT_ADDR/v1/$NAMESPACE-db/creds/app > /memory/db.json
jq -j .lease_id /memory/db.json > /memory/db-lease
jq -j .data.username /memory/db.json > /memory/db-user
jq -j .data.password /memory/db.json > /memory/db-password
PGPASSWORD="$(cat /memory/db-password)" python3 -c '
import os, psycopg
with psycopg.connect(host=os.environ["DATABASE_HOST"], dbname="shop",
                     user=open("/memory/db-user").read()) as connection:
    print(*connection.execute("SELECT current_user, count(*) FROM lab01_orders").fetchone())
' | tee /memory/db-says
EOF
done
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
# One lease is renewed, the other one revoked.
kubectl exec shop -- cat /memory/db-lease |
  jq -R '{lease_id: ., increment: "8m"}' |  #?(8m) more than it was born with
  api -X PUT $VAULT_ADDR/v1/sys/leases/renew -d @- | jq -c '{lease_duration, renewable}'
kubectl exec second -- cat /memory/db-lease |
  jq -R '{lease_id: ., sync: true}' |
  api -X PUT $VAULT_ADDR/v1/sys/leases/revoke -d @-  #?(revoke) end it now
kubectl exec -i second -- bash <<'EOF'
PGPASSWORD="$(cat /memory/db-password)" python3 -c '
import os, psycopg
psycopg.connect(host=os.environ["DATABASE_HOST"], dbname="shop",
                user=open("/memory/db-user").read(), connect_timeout=3)
' 2>&1 | tail -1
EOF
# And one that simply runs out: two seconds, then the database knows it no more.
api $VAULT_ADDR/v1/$NAMESPACE-db/creds/brief | jq -c '{lease_duration, user: .data.username}'
docker exec $POSTGRES psql -U postgres shop -c "SELECT rolname, rolvaliduntil FROM pg_roles
  WHERE rolname LIKE 'v-%-app-%' OR rolname LIKE 'v-%-brief-%'"
""")


@database_users.check
def _(lab: LabContext) -> None:
    engine = lab.path("db")
    mounts = lab.http.get("/v1/sys/mounts").json()["data"]
    found = (mounts.get(f"{engine}/") or {}).get("type")
    expect(found == "database", f"a database engine is mounted at {engine}/", found=found)
    config = lab.http.get(f"/v1/{engine}/config/shop", allow={404}).json().get("data") or {}
    expect(config, "it is connected to the database shop", hint=f"POST /v1/{engine}/config/shop")
    expect(lab.orders.exists("lab01_vault"), "the database has a user lab01_vault for Vault")
    rotations = lab.audit.responses(f"{engine}/rotate-root/shop")
    expect(
        any(not entry.get("error") for entry in rotations)
        and not _logs_in(lab, "lab01_vault", TYPED),
        "its first password is worth nothing any more: only Vault knows the present one",
        hint=f"POST /v1/{engine}/rotate-root/shop",
    )
    users: dict[str, str] = {}
    for pod in ("shop", "second"):
        expect(lab.kube.get("Pod", pod), f"there is a pod {pod}")
        users[pod] = lab.kube.exec(pod, "cat /memory/db-user 2>/dev/null || true")
        says = lab.kube.exec(pod, "cat /memory/db-says 2>/dev/null || true").split()
        expect(
            users[pod] and says[:1] == [users[pod]],
            f"the database knew pod {pod} by a user that Vault had made",
            found=says or "no /memory/db-says",
        )
    expect(users["shop"] != users["second"], "the two pods had different users", found=users)
    expect(lab.orders.exists(users["shop"]), "the user of pod shop exists")
    lease = lab.kube.exec("shop", "cat /memory/db-lease")
    looked = lab.http.put("/v1/sys/leases/lookup", json={"lease_id": lease}, allow={400})
    state: dict[str, Any] = looked.json().get("data") or {}
    expect(
        state.get("ttl", 0) > 300,
        "its lease was renewed: it lives longer than the five minutes it was born with",
        found=state.get("ttl"),
        hint="PUT /v1/sys/leases/renew with an increment of 8m",
    )
    expect(
        not lab.orders.exists(users["second"]),
        "the user of pod second is gone: its lease was revoked",
        hint="PUT /v1/sys/leases/revoke with the lease_id in its /memory/db-lease",
    )
    refused = lab.kube.exec("second", f"({RECONNECT}) 2>&1 || true")
    expect(
        "authentication failed" in refused,
        "and the database refuses the password that pod second still holds",
        found=refused[-200:],
    )
    given = lab.audit.responses(f"{engine}/creds/brief")
    expect(
        given and lab.wait_for("users of the role brief to be dropped", lambda: not _brief(lab)),
        "a lease of two seconds ran out, and its user is gone",
        found=f"{len(given)} users were asked for",
        hint=f"GET /v1/{engine}/creds/brief",
    )


@database_users.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, role="shop", pod="shop", secret=lab.path("db", "creds", "app"))


@database_users.undo
def _(lab: LabContext) -> None:
    lab.orders.remove(lab.path("db"), "^v-.*-(app|brief|service)-")


def _logs_in(lab: LabContext, user: str, password: str) -> bool:
    try:
        lab.postgres.connect(user, password).close()
    except psycopg.OperationalError:
        return False
    return True


def _brief(lab: LabContext) -> bool:
    """Whether the database still has a user that was made by the role brief."""
    with lab.postgres.connect() as connection:
        found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname ~ '^v-.*-brief-'")
        return found.fetchone() is not None
