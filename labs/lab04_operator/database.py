"""Step 8: database users with a lease, and one whose password Vault rotates."""

from __future__ import annotations

import psycopg
from psycopg import sql

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.pods import from_secret
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    API,
    condition,
    custom,
    manager_pod,
    rolled_out,
    status,
    values,
    wait_rollout,
    wait_synced,
)
from labs.lab04_operator.workloads import deployment, program, service

# Names of the users that Vault makes for the role `orders`, as PostgreSQL matches them.
USERS = "^v-.*-orders-"
REPORT = "lab04_report"


def prepare_database(lab: LabContext) -> None:
    """The table of orders, a user for Vault that may make others, and one it will look after."""
    lab.orders.prepare()
    report, vault = sql.Identifier(REPORT), sql.Identifier(lab.orders.account)
    password = sql.Literal(str(lab.secret(REPORT)))
    with lab.postgres.connect() as connection:
        for statement in (
            sql.SQL("CREATE ROLE {report} LOGIN PASSWORD {password}"),
            sql.SQL("GRANT SELECT ON {table} TO {report}"),
            # Vault's user may change the password of the one it looks after (PostgreSQL 16 on).
            sql.SQL("GRANT {report} TO {vault} WITH ADMIN OPTION"),
        ):
            table = sql.Identifier(lab.orders.table)
            connection.execute(
                statement.format(report=report, vault=vault, password=password, table=table)
            )


def log_in(lab: LabContext, user: str, password: str) -> str:
    """What the database says to this user: "" when it lets them in."""
    try:
        lab.postgres.connect(user, password).close()
    except psycopg.OperationalError as error:
        return str(error).strip()
    return ""


def works_as(lab: LabContext) -> list[str]:
    """The user that the database knows the application by, and its orders; [] without a pod."""
    with lab.quiet():
        pods = [
            pod["metadata"]["name"]
            for pod in lab.kube.list("Pod", selector="app=orders")
            if "deletionTimestamp" not in pod["metadata"]
        ]
        ask = "curl -s --max-time 5 http://orders:8080/ || true"
        return lab.kube.exec(pods[0], ask).split() if pods else []


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
    "Database users, renewed and replaced",
    hints=[
        "`prepare_database(lab)`; the engine as in lab 01 (`lab.orders.connection(roles)`); "
        "roles/orders (`lab.orders.role(default_ttl='1m', max_ttl='2h')`), static-roles/report "
        "(username REPORT, rotation_period 15s); a policy `lab04-orders`: read creds/orders and "
        "static-creds/report.",
        "A Deployment `orders` (`program('orders')`) with DB_USER and DB_PASSWORD from the Secret "
        "orders; a VaultDynamicSecret `orders`: mount, path creds/orders, renewalPercent 10, "
        "rolloutRestartTargets, destination {name: orders, create: true}. Another, `report`: path "
        "static-creds/report, allowStaticCreds: true.",
        "Wait for a renewal (status.lastRenewalTime grows, the lease stays). Revoke the lease (PUT "
        "/v1/sys/leases/revoke) and wait for another user. Keep in `lab.notes['database']`: "
        "first_user, renewed (true), report (fingerprint of the report's first password).",
    ],
)
def database_users(lab: LabContext) -> None:
    """
    A **VaultDynamicSecret** asks Vault for credentials that are made for it, and looks after
    their **lease**:

    - it **renews** the lease in time (`renewalPercent`), so the same user lives on;
    - when the lease cannot be renewed (its maximum is reached, somebody revoked it) it gets
      **new** credentials, writes them into the Secret and restarts the targets;
    - an operator that was restarted logs in anew, and new log-ins get new credentials.

    The lease here lives a minute and is renewed every ten seconds, so that you can watch.
    Then we revoke it, as you would after an incident: within seconds there is another user,
    and the application works under its name.

    A **static role** is the other way round: a user that exists already, whose password
    Vault changes by a schedule. No lease; the operator comes back after each change.
    """
    prepare_database(lab)
    engine = lab.path("db")
    lab.http.post(f"/v1/sys/mounts/{engine}", json={"type": "database"})
    lab.http.post(
        f"/v1/{engine}/config/shop", json=lab.orders.connection(roles=["orders", "report"])
    )
    lab.http.post(
        f"/v1/{engine}/roles/orders",
        json=lab.orders.role(default_ttl="1m", max_ttl="2h"),
    )
    lab.http.post(
        f"/v1/{engine}/static-roles/report",
        json={"db_name": "shop", "username": REPORT, "rotation_period": "15s"},
    )
    policy = f"""
path "{engine}/creds/orders"        {{ capabilities = ["read"] }}
path "{engine}/static-creds/report" {{ capabilities = ["read"] }}
"""
    lab.http.put(f"/v1/sys/policies/acl/{lab.path('orders')}", json={"policy": policy})

    # An application that only knows its variables; it starts when the Secret is there.
    lab.kube.apply(program("orders"))
    env = [
        {"name": "HOST", "value": lab.postgres.pod_host},
        {"name": "DATABASE", "value": lab.postgres.database},
        from_secret("DB_USER", "orders", "username"),
        from_secret("DB_PASSWORD", "orders", "password"),
    ]
    lab.kube.apply(deployment(lab, "orders", "orders", env=env))
    lab.kube.apply(service("orders"))
    lab.kube.apply(f"""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultDynamicSecret
metadata: {{name: orders}}
spec:
  vaultAuthRef: shop
  mount: {engine}
  path: creds/orders
  renewalPercent: 10
  rolloutRestartTargets: [{{kind: Deployment, name: orders}}]
  destination: {{name: orders, create: true}}
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultDynamicSecret
metadata: {{name: report}}
spec:
  vaultAuthRef: shop
  mount: {engine}
  path: static-creds/report
  allowStaticCreds: true
  destination: {{name: report, create: true}}
""")
    wait_synced(lab, "VaultDynamicSecret", "orders")
    wait_synced(lab, "VaultDynamicSecret", "report")
    wait_rollout(lab, "orders")
    first, lease = values(lab, "orders")["username"], lease_of(lab, "orders")
    report = lab.fingerprint(values(lab, "report")["password"])

    # The lease is renewed: later, and still the same.
    born = status(lab, "VaultDynamicSecret", "orders")["lastRenewalTime"]
    lab.wait_for(
        "the lease to be renewed",
        lambda: status(lab, "VaultDynamicSecret", "orders")["lastRenewalTime"] > born,
        explain=lambda: "\n".join(lab.kube.events("orders")[-4:]),
    )
    renewed = lease_of(lab, "orders") == lease

    # An incident: somebody revokes it.
    lab.http.put("/v1/sys/leases/revoke", json={"lease_id": lease, "sync": True})
    lab.wait_for(
        "the operator to get another user",
        lambda: values(lab, "orders")["username"] != first and lease_of(lab, "orders") != lease,
        explain=lambda: "\n".join(lab.kube.events("orders")[-4:]),
    )
    wait_rollout(
        lab, "orders", also=lambda: works_as(lab) == [values(lab, "orders")["username"], "2"]
    )
    lab.wait_for(
        "Vault to rotate the report's password, and the Secret to follow",
        lambda: lab.fingerprint(values(lab, "report")["password"]) != report,
    )
    lab.notes["database"] = {"first_user": first, "renewed": renewed, "report": report}


@database_users.check
def _(lab: LabContext) -> None:
    noted = lab.notes.get("database", {})
    resource = custom(lab, "VaultDynamicSecret", "orders")
    expect(resource, "there is a VaultDynamicSecret orders")
    found = values(lab, "orders")
    expect(
        set(found) == {"username", "password", "_raw"} and len(found["password"]) == 20,
        "the Secret orders has a user name and a password of 20 characters that Vault made",
        found=sorted(found) or lab.kube.events("orders")[-3:],
    )
    user = found["username"]
    expect(
        user.startswith("v-") and "-orders-" in user,
        "the user's name tells the role that it was made by",
        found=user,
    )
    refusal = log_in(lab, user, found["password"])
    expect(not refusal, "the database lets it in", found=refusal)
    expect(
        noted.get("renewed") is True,
        "its lease was renewed at least once and stayed the same",
        found=noted or "no lab.notes['database']",
    )
    first = noted["first_user"]
    gone = user != first and not lab.orders.exists(first)
    expect(gone, "the first user is gone: its lease was revoked", found=first)
    state = resource.get("status") or {}
    pod = manager_pod(lab).get("metadata", {}).get("uid")
    expect(
        state.get("lastGeneration") == resource["metadata"]["generation"]
        and state.get("lastRenewalTime", 0) > 0
        and pod
        and state.get("lastRuntimePodUID") == pod,
        "the status names the generation, the time of the last renewal and the operator's pod",
        found={key: state.get(key) for key in ("lastGeneration", "lastRuntimePodUID")},
    )
    held = leases(lab)
    lease = lease_of(lab, "orders")
    expect(lease.rpartition("/")[2] in held, "Vault keeps the lease that the status names")
    workload = lab.kube.get("Deployment", "orders") or {}
    expect(rolled_out(workload), "the Deployment orders is rolled out and ready")
    says = works_as(lab)
    expect(
        says == [user, "2"],
        "and the database knows the application by the present user",
        found=says,
        hint="rolloutRestartTargets; a restart takes a few seconds",
    )
    entry = condition(lab, "VaultDynamicSecret", "orders", "RolloutRestart")
    expect(entry.get("status") == "True", "it was restarted by the operator", found=entry)
    _check_report(lab, noted.get("report", ""))


def _check_report(lab: LabContext, first: str) -> None:
    state = status(lab, "VaultDynamicSecret", "report")
    expect(state, "there is a VaultDynamicSecret report")
    found = values(lab, "report")
    expect(
        {"username", "password", "last_vault_rotation", "rotation_period", "ttl"} <= set(found)
        and found["username"] == REPORT,
        "the Secret report is for the user that was there, and tells how its password is rotated",
        found=sorted(found),
    )
    expect(
        first and lab.fingerprint(found["password"]) != first,
        "its password has been rotated since",
        found=first or "nothing noted",
    )
    plan = state.get("staticCredsMetaData") or {}
    expect(
        plan.get("lastVaultRotation", 0) > 0 and plan.get("rotationPeriod") == 15,
        "the status tells when, and every 15 seconds",
        found=plan,
    )
    expect(
        not (state.get("secretLease") or {}).get("id"),
        "there is no lease: the user stays",
        found=state.get("secretLease"),
    )


@database_users.undo
def _(lab: LabContext) -> None:
    # The operator lets go first, or it would ask for another user meanwhile.
    for name in ("orders", "report"):
        if custom(lab, "VaultDynamicSecret", name):
            lab.kube.delete("VaultDynamicSecret", name, api_version=API)
    lab.orders.remove(lab.path("db"), users=f"{USERS}|^{REPORT}$")
