"""Step 13: Vault's side of a database: an engine that makes users, and who may ask for one."""

from __future__ import annotations

import psycopg

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import status

# Names of the users that Vault makes for the role `orders`, as PostgreSQL matches them.
USERS = "^v-.*-orders-"


def log_in(lab: LabContext, user: str, password: str) -> str:
    """What the database says to this user: "" when it lets them in."""
    try:
        lab.postgres.connect(user, password).close()
    except psycopg.OperationalError as error:
        return str(error).strip()
    return ""


def users(lab: LabContext) -> list[str]:
    """The users that Vault has made for the role `orders` and not yet dropped."""
    with lab.postgres.connect() as connection:
        found = connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ %s", [USERS])
        return [str(name) for (name,) in found.fetchall()]


def leases(lab: LabContext) -> list[str]:
    """The leases that Vault keeps for users of the role `orders`."""
    path = f"/v1/sys/leases/lookup/{lab.path('db', 'creds', 'orders')}"
    with lab.quiet():
        answer = lab.http.list(path, allow={404})
    return list((answer.json().get("data") or {}).get("keys") or [])


def lease_of(lab: LabContext, name: str, namespace: str = "") -> str:
    """The lease that a VaultDynamicSecret names in its status."""
    found = status(lab, "VaultDynamicSecret", name, namespace)
    return str((found.get("secretLease") or {}).get("id", ""))


@operator.step(
    "Let Vault make database users",
    minutes=6,
    goals=[
        "there is a database engine at lab04-db/",
        "its connection shop allows the roles orders and report",
        "the role orders makes users that live a minute",
        "Vault makes a user, and the database lets it in",
        "its lease revoked, the database refuses the user",
        "the policy lab04-orders allows to read creds/orders and static-creds/report",
    ],
    hints=[
        "`vault path-help lab04-db/config/shop` and `vault path-help lab04-db/roles/orders` name "
        "the fields.",
        "A role names its connection in `db_name`. In the statements Vault fills in the words in "
        "double braces: name, password, expiration.",
        "db_name=shop; default_ttl=1m; {{name}}; creds/orders.",
    ],
)
def make_users(lab: LabContext) -> None:
    """
    The shop keeps its orders in PostgreSQL. First the database: a table, an account for Vault
    that may create users, and a group that may read the table.

    Then Vault: a **database engine** with a connection, and a **role** that says how a user is
    created, how it is dropped, and how long it lives. A minute is short. You want to watch; at
    work an hour is usual.

    Read the statements: Vault runs them as they stand. A user has its rights by membership in a
    group alone, so dropping it always works.

    `sslmode=disable`, because the database of these labs has no certificate: Vault and the
    database share a private network of containers. At work it says `sslmode=verify-full`.
    """
    lab.sh(r"""
PASSWORD=$(head -c 12 /dev/urandom | base64)
docker exec -i $POSTGRES psql -U postgres -v ON_ERROR_STOP=1 shop <<EOF
CREATE TABLE ${NAMESPACE}_orders (id int, item text);
INSERT INTO ${NAMESPACE}_orders VALUES (1, 'book'), (2, 'lamp');
CREATE ROLE ${NAMESPACE}_vault LOGIN CREATEROLE PASSWORD '$PASSWORD';
CREATE ROLE ${NAMESPACE}_readers ADMIN ${NAMESPACE}_vault;
GRANT SELECT ON ${NAMESPACE}_orders TO ${NAMESPACE}_readers;
EOF
vault secrets enable -path=$NAMESPACE-db database
printf %s "$PASSWORD" |
  vault write $NAMESPACE-db/config/shop plugin_name=postgresql-database-plugin \
    connection_url="postgresql://{{username}}:{{password}}@$POSTGRES:5432/shop?sslmode=disable" \
    username=${NAMESPACE}_vault password=- allowed_roles=orders,report
""")
    lab.sh(r"""
vault write $NAMESPACE-db/roles/orders \
  db_name=shop \  #? the connection
  default_ttl=1m max_ttl=2h \  #?(1m) how long does a user live?
  revocation_statements='DROP ROLE IF EXISTS "{{name}}";' \  #?({{name}}) which user?
  creation_statements=- <<EOF
CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'
  IN ROLE ${NAMESPACE}_readers;
EOF
vault policy write $NAMESPACE-orders - <<EOF
path "$NAMESPACE-db/creds/orders"        { capabilities = ["read"] }  #?(creds/orders) which path?
path "$NAMESPACE-db/static-creds/report" { capabilities = ["read"] }
EOF
vault read $NAMESPACE-db/roles/orders
""")


@make_users.check
def _(lab: LabContext) -> None:
    engine = lab.path("db")
    mounts = lab.http.get("/v1/sys/mounts").json()["data"]
    expect(
        (mounts.get(f"{engine}/") or {}).get("type") == "database",
        f"there is a database engine at {engine}/",
    )
    found = lab.http.get(f"/v1/{engine}/config/shop", allow={400, 404}).json().get("data") or {}
    expect(
        {"orders", "report"} <= set(found.get("allowed_roles") or []),
        "its connection shop allows the roles orders and report",
        found=found.get("allowed_roles"),
    )
    role = lab.http.get(f"/v1/{engine}/roles/orders", allow={404}).json().get("data") or {}
    expect(
        role.get("db_name") == "shop" and role.get("default_ttl") == 60,
        "the role orders makes users that live a minute",
        found=role,
    )
    made = lab.http.get(f"/v1/{engine}/creds/orders", allow={400, 500}).json()
    user = made.get("data") or {}
    refusal = log_in(lab, user["username"], user["password"]) if user else str(made)
    expect(not refusal, "Vault makes a user, and the database lets it in", found=refusal)
    lab.http.put("/v1/sys/leases/revoke", json={"lease_id": made["lease_id"], "sync": True})
    refusal = log_in(lab, user["username"], user["password"])
    expect(
        "authentication failed" in refusal,
        "its lease revoked, the database refuses the user",
        found=refusal or "it was let in",
    )
    policy = lab.http.get(f"/v1/sys/policies/acl/{lab.path('orders')}", allow={404}).json()
    text = str((policy.get("data") or {}).get("policy", ""))
    expect(
        all(f'"{engine}/{path}"' in text for path in ("creds/orders", "static-creds/report")),
        f"the policy {lab.path('orders')} allows to read creds/orders and static-creds/report",
        found=text,
    )


@make_users.undo
def _(lab: LabContext) -> None:
    lab.orders.remove(lab.path("db"), users=USERS)
