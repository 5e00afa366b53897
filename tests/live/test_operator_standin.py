"""The operator stand-in on a real cluster, where upstream behaves in a way of its own.

Lab 04 passes with both. What is tried here is what the lab does not meet: a static role with a
schedule, names that cannot be, and many leases that end at once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

import pytest
from psycopg import sql

from harness.lab.context import LabContext
from harness.session.runner import Runner
from labs.lab04_operator.connect import connect
from labs.lab04_operator.objects import (
    NAMESPACE,
    condition,
    custom,
    secret,
    status,
    values,
)
from labs.lab04_operator.orders import leases, log_in
from labs.lab04_operator.static_role import REPORT
from labs.lab04_operator.way_in import let_the_shop_in
from tests.live.operator_resources import static_secret, wait_synced

pytestmark = pytest.mark.live

# Vault looks at its queue of rotations every five seconds; the operator asks for ten more.
LATE_SECONDS = 20.0
LEDGER = "vso-token-ledger"
MANY = 20


def prepare_database(lab: LabContext) -> None:
    """The table of orders, a user for Vault that may make others, and one it will look after."""
    lab.orders.prepare()
    report, vault = sql.Identifier(REPORT), sql.Identifier(lab.orders.account)
    password = sql.Literal(str(lab.secret(REPORT)))
    with lab.postgres.connect() as connection:
        for statement in (
            sql.SQL("CREATE ROLE {report} LOGIN PASSWORD {password}"),
            # Vault's user may change the password of the one it looks after (PostgreSQL 16 on).
            sql.SQL("GRANT {report} TO {vault} WITH ADMIN OPTION"),
        ):
            connection.execute(statement.format(report=report, vault=vault, password=password))


@pytest.fixture
def lab(lab_context: Callable[[str], LabContext]) -> Iterator[LabContext]:
    """Lab 04 with its first step done and a database that Vault may use."""
    found = lab_context("04")
    runner = Runner(found)
    runner.reset()
    found.prepare()
    with found.quiet():
        let_the_shop_in.do(found)
        connect.do(found)
        prepare_database(found)
        engine = found.path("db")
        found.http.post(f"/v1/sys/mounts/{engine}", json={"type": "database"})
        roles = found.orders.connection(roles=["orders", "report"])
        found.http.post(f"/v1/{engine}/config/shop", json=roles)
        policy = f'path "{engine}/*" {{ capabilities = ["read"] }}'
        found.http.put(f"/v1/sys/policies/acl/{found.path('orders')}", json={"policy": policy})
    yield found
    runner.reset()


def dynamic(lab: LabContext, name: str, path: str, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "secrets.hashicorp.com/v1beta1",
        "kind": "VaultDynamicSecret",
        "metadata": {"name": name, "namespace": lab.namespace},
        "spec": {
            "vaultAuthRef": "shop",
            "mount": lab.path("db"),
            "path": path,
            "destination": {"name": name, "create": True},
            **spec,
        },
    }


def test_a_scheduled_rotation_is_followed_at_once(lab: LabContext) -> None:
    """At the full minute Vault counts anew, and rotates seconds later: no old password stays."""
    if lab.access.flavour != "vault":
        pytest.skip("the static roles of OpenBao know a period and no schedule")
    engine = lab.path("db")
    role = {"db_name": "shop", "username": REPORT, "rotation_schedule": "* * * * *"}
    lab.http.post(f"/v1/{engine}/static-roles/report", json=role)
    lab.kube.apply(dynamic(lab, "report", "static-creds/report", allowStaticCreds=True))
    wait_synced(lab, "VaultDynamicSecret", "report")
    told = status(lab, "VaultDynamicSecret", "report")["staticCredsMetaData"]
    assert told["rotationSchedule"] == "* * * * *"

    def seen() -> str:
        return lab.fingerprint(values(lab, "report")["password"])

    passwords = [seen()]
    for _ in range(2):
        lab.wait_for(
            "the Secret to follow the rotation within its own minute",
            lambda: seen() != passwords[-1],
            timeout=60 + LATE_SECONDS,
            explain=lambda: "\n".join(lab.kube.events("report")[-6:]),
        )
        passwords.append(seen())
        assert log_in(lab, REPORT, values(lab, "report")["password"]) == ""
        assert condition(lab, "VaultDynamicSecret", "report", "SecretSynced")["status"] == "True"


def test_what_cannot_be_is_told_and_what_is_not_ours_stays(lab: LabContext) -> None:
    auth = custom(lab, "VaultAuth", "shop")["spec"]
    elsewhere = {**auth, "kubernetes": {**auth["kubernetes"], "serviceAccount": "other/x"}}
    lab.kube.apply(
        {
            "apiVersion": "secrets.hashicorp.com/v1beta1",
            "kind": "VaultAuth",
            "metadata": {"name": "elsewhere", "namespace": lab.namespace},
            "spec": elsewhere,
        }
    )
    lab.kube.apply(static_secret(lab, "refused", vaultAuthRef="elsewhere"))
    lab.wait_for(
        "the refusal to be told in the status",
        lambda: condition(lab, "VaultStaticSecret", "refused", "SecretSynced"),
    )
    synced = condition(lab, "VaultStaticSecret", "refused", "SecretSynced")
    assert synced["status"] == "False"
    assert 'ServiceAccount "other/x" not found' in synced["message"]
    events = "\n".join(lab.kube.events("refused"))
    assert "VaultClientConfigError" in events
    # The schema requires fields that only a sync sets: a failed first one must not lack them.
    lab.kube.apply(dynamic(lab, "none", "creds/none"))
    lab.wait_for(
        "the failure to be told in the status",
        lambda: condition(lab, "VaultDynamicSecret", "none", "SecretSynced"),
    )
    assert status(lab, "VaultDynamicSecret", "none")["lastRenewalTime"] == 0

    lab.http.post(
        f"/v1/{lab.path('kv')}/data/shop/app",
        json={"data": {"username": "shop", "password": lab.secret("app"), "key2": "x"}},
    )
    transformation = {
        "excludes": ["[[:digit:]]$"],
        "templates": {"name": {"text": '{{ snakecase "v1Beta2" }} {{ int "3.9" }}'}},
    }
    destination = {"name": "shaped", "create": True, "transformation": transformation}
    lab.kube.apply(static_secret(lab, "shaped", destination=destination))
    wait_synced(lab, "VaultStaticSecret", "shaped")
    found = values(lab, "shaped")
    assert set(found) == {"username", "password", "name", "_raw"}
    assert found["name"] == "v1_beta2 0"
    finalizer = json.dumps({"metadata": {"finalizers": ["example.org/keep"]}})
    patch = f"kubectl -n {lab.namespace} patch secret shaped --type=merge -p"
    lab.run(f"{patch} '{finalizer}'")
    lab.http.post(
        f"/v1/{lab.path('kv')}/data/shop/app", json={"data": {"username": "second", "key2": "x"}}
    )
    lab.wait_for(
        "the Secret to follow Vault", lambda: values(lab, "shaped").get("username") == "second"
    )
    assert secret(lab, "shaped")["metadata"]["finalizers"] == ["example.org/keep"]
    lab.run(f"""{patch} '{{"metadata": {{"finalizers": null}}}}'""")


def ledger(lab: LabContext) -> set[str]:
    """The VaultAuths that tokens on the operator's ledger belong to."""
    data = secret(lab, LEDGER, NAMESPACE).get("data") or {}
    return {json.loads(base64.b64decode(line))["auth"] for line in data.values()}


def test_many_that_go_at_once_leave_no_token_behind(lab: LabContext) -> None:
    engine = lab.path("db")
    role = lab.orders.role(default_ttl="10m", max_ttl="2h")
    lab.http.post(f"/v1/{engine}/roles/orders", json=role)
    names = [f"many{number}" for number in range(MANY)]
    for name in names:
        lab.kube.apply(dynamic(lab, name, "creds/orders"))
    for name in names:
        wait_synced(lab, "VaultDynamicSecret", name)
    assert len(leases(lab)) == MANY
    auth = f"{lab.namespace}/shop"
    assert auth in ledger(lab)
    lab.run(f"kubectl -n {lab.namespace} delete vaultdynamicsecrets --all", timeout=120)
    lab.run(f"kubectl -n {lab.namespace} delete vaultauth shop", timeout=60)
    lab.wait_for("all leases to end", lambda: not leases(lab), timeout=60)
    lab.wait_for(
        "the token to be revoked and taken off the ledger",
        lambda: auth not in ledger(lab),
        timeout=120,
    )
