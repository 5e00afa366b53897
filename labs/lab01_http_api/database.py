"""Step 10: database users that exist for minutes, one for each pod."""

from __future__ import annotations

from typing import Any

import psycopg

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab01_http_api.lab import http_api
from labs.lab01_http_api.pods import curl_pod
from labs.lab01_http_api.trust import way_in

# What the pod runs: log in, get a database user, ask the database who it thinks it is.
FETCH = r"""
set -eu
vault() {{ curl -sS --fail-with-body --cacert /vault-ca/ca.crt "$@"; }}
jq -n --arg jwt "$(cat /identity/token)" '{{role: "shop", jwt: $jwt}}' |
  vault -d @- {addr}/v1/auth/{auth}/login | jq -j .auth.client_token > /memory/db-token
vault -H "X-Vault-Token: $(cat /memory/db-token)" {addr}/v1/{creds} > /memory/db.json
jq -j .lease_id < /memory/db.json > /memory/db-lease
jq -j .data.username < /memory/db.json > /memory/db-user
jq -j .data.password < /memory/db.json > /memory/db-password
PGPASSWORD="$(cat /memory/db-password)" python3 -c '
import os, psycopg
with psycopg.connect(host="{host}", dbname="{database}", user=open("/memory/db-user").read(),
                     password=os.environ["PGPASSWORD"]) as connection:
    row = connection.execute("SELECT current_user, count(*) FROM lab01_orders").fetchone()
    print(*row)
' > /memory/db-says
"""


def fetch_script(lab: LabContext) -> str:
    """The commands with which a pod gets a database user and logs in with it."""
    return FETCH.format(
        addr=lab.access.vault_pod_addr,
        auth=lab.path("kubernetes"),
        creds=lab.path("db", "creds", "app"),
        host=lab.postgres.pod_host,
        database=lab.postgres.database,
    )


@http_api.step(
    "Database users that live for minutes",
    hints=[
        "`lab.orders.prepare()` makes a table and a user lab01_vault for Vault. Mount type "
        "`database` at lab01-db; its `/config/shop` takes plugin_name, connection_url, username, "
        "password and allowed_roles; its `/roles/app` db_name, creation_statements and TTLs.",
        "POST `/v1/lab01-db/rotate-root/shop`: from now on only Vault knows that password. The "
        "pods need a policy on lab01-db/creds/app and a kubernetes role `shop` that carries it.",
        "Pods `app` and `second`: `lab.kube.exec(pod, fetch_script(lab))`. Then renew the lease "
        "of `app` (PUT /v1/sys/leases/renew, lease_id from /memory/db-lease), revoke that of "
        "`second` (PUT /v1/sys/leases/revoke).",
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
    """
    lab.orders.prepare()
    print(lab.orders.create_user)  # what Vault will say to the database; it fills in {{ }}
    engine = lab.path("db")
    lab.http.post(f"/v1/sys/mounts/{engine}", json={"type": "database"})
    server = lab.postgres
    lab.http.post(
        f"/v1/{engine}/config/shop",
        json={
            "plugin_name": "postgresql-database-plugin",
            "connection_url": "postgresql://{{username}}:{{password}}"
            f"@{server.network_host}:5432/{server.database}?sslmode=disable",
            "username": "lab01_vault",
            "password": lab.secret("db-admin"),
            "allowed_roles": ["app", "brief", "service"],
        },
    )
    lab.http.post(f"/v1/{engine}/rotate-root/shop")
    for role, ttl in (("app", "5m"), ("brief", "2s")):
        lab.http.post(
            f"/v1/{engine}/roles/{role}",
            json={
                "db_name": "shop",
                "creation_statements": [lab.orders.create_user],
                "revocation_statements": [lab.orders.revoke_user],
                "default_ttl": ttl,
                "max_ttl": "10m",
            },
        )

    # Who may have such a user: the service account app, by a role of its own.
    policy = f'path "{engine}/creds/app" {{ capabilities = ["read"] }}'
    lab.http.put(f"/v1/sys/policies/acl/{engine}", json={"policy": policy})
    lab.http.post(
        f"/v1/auth/{lab.path('kubernetes')}/role/shop",
        json={
            "bound_service_account_names": ["app"],
            "bound_service_account_namespaces": [lab.namespace],
            "audience": "vault",
            "token_policies": [engine],
            "token_ttl": "10m",
        },
    )

    # Two pods, two users. One lease is renewed, the other one revoked.
    lab.kube.apply(curl_pod(lab, "second", service_account="app"))
    lab.kube.wait_for_pod("second")
    for pod in ("app", "second"):
        lab.kube.exec(pod, fetch_script(lab))
    lease = lab.kube.exec("app", "cat /memory/db-lease")
    lab.http.put("/v1/sys/leases/renew", json={"lease_id": lease, "increment": "8m"})
    lease = lab.kube.exec("second", "cat /memory/db-lease")
    lab.http.put("/v1/sys/leases/revoke", json={"lease_id": lease, "sync": True})

    # And one that simply runs out: two seconds, then the database knows it no more.
    brief = lab.http.get(f"/v1/{engine}/creds/brief").json()["data"]["username"]
    lab.notes["brief_user"] = brief
    lab.wait_for(f"{brief} to be dropped", lambda: not lab.orders.exists(brief), timeout=20)


@database_users.check
def _(lab: LabContext) -> None:
    engine = lab.path("db")
    mounts = lab.http.get("/v1/sys/mounts").json()["data"]
    found = (mounts.get(f"{engine}/") or {}).get("type")
    expect(found == "database", f"a database engine is mounted at {engine}/", found=found)
    config = lab.http.get(f"/v1/{engine}/config/shop", allow={404}).json().get("data") or {}
    expect(config, "it is connected to the database shop", hint=f"POST /v1/{engine}/config/shop")
    expect(lab.orders.exists("lab01_vault"), "the database has a user lab01_vault for Vault")
    expect(
        not _logs_in(lab, "lab01_vault", lab.secret("db-admin")),
        "its first password is worth nothing any more: only Vault knows the present one",
        hint=f"POST /v1/{engine}/rotate-root/shop",
    )
    users: dict[str, str] = {}
    for pod in ("app", "second"):
        expect(lab.kube.get("Pod", pod), f"there is a pod {pod}")
        users[pod] = lab.kube.exec(pod, "cat /memory/db-user 2>/dev/null || true")
        says = lab.kube.exec(pod, "cat /memory/db-says 2>/dev/null || true").split()
        expect(
            users[pod] and says[:1] == [users[pod]],
            f"the database knew pod {pod} by a user that Vault had made",
            found=says or "no /memory/db-says",
        )
    expect(users["app"] != users["second"], "the two pods had different users", found=users)
    expect(lab.orders.exists(users["app"]), "the user of pod app exists")
    lease = lab.kube.exec("app", "cat /memory/db-lease")
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
    refused = lab.kube.exec("second", f"({_reconnect(lab)}) 2>&1 || true")
    expect(
        "authentication failed" in refused,
        "and the database refuses the password that pod second still holds",
        found=refused[-200:],
    )
    brief = lab.notes.get("brief_user", "")
    expect(
        brief and not lab.orders.exists(brief),
        "a lease of two seconds ran out, and its user is gone",
        found=brief or "no lab.notes['brief_user']",
    )


@database_users.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, role="shop", pod="app", secret=lab.path("db", "creds", "app"))


@database_users.undo
def _(lab: LabContext) -> None:
    lab.orders.remove(lab.path("db"), "^v-.*-(app|brief|service)-")


def _logs_in(lab: LabContext, user: str, password: str) -> bool:
    try:
        lab.postgres.connect(user, password).close()
    except psycopg.OperationalError:
        return False
    return True


def _reconnect(lab: LabContext) -> str:
    """Only the last command of the script: the log-in to the database."""
    return 'PGPASSWORD="$' + fetch_script(lab).partition('PGPASSWORD="$')[2].partition(" >")[0]
