"""A node that restarts: copies are there, and nothing of what was leased is forgotten.

Some steps of lab 04 are solved, then the node's container is restarted, as a machine that
lost its power for a moment. It is no step of the lab, since it stops the pods of every other
lab and takes about a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from harness.environment.environment import Environment
from harness.lab.context import LabContext
from harness.session.runner import Runner
from harness.supply.engine import engine
from labs.lab04_operator.database import works_as
from labs.lab04_operator.objects import kv, same, secret, values
from labs.lab04_operator.orders import lease_of, leases, log_in
from tests.live.operator_resources import wait_rollout, wait_synced, wait_value

pytestmark = pytest.mark.live

BACK_SECONDS = 180.0
STEPS = ("let_the_shop_in", "connect", "first_secret", "make_users", "database_users")


@pytest.fixture(scope="module")
def lab(lab_context: Callable[[str], LabContext]) -> Iterator[LabContext]:
    """Lab 04 with a static and a leased secret; removed afterwards."""
    made = lab_context("04")
    runner = Runner(made)
    runner.reset()
    for name in STEPS:
        runner.solve(made.lab.find(name))
    yield made
    runner.reset()


def version(lab: LabContext, name: str) -> str:
    return str(secret(lab, name)["metadata"]["resourceVersion"])


def restart_node(lab: LabContext) -> float:
    """Restart the node and wait until it is ready again; the seconds it took."""
    environment = Environment(lab.access.name)
    started = time.monotonic()
    client = engine.client()
    client.containers.get(environment.cluster.node_name).restart(timeout=30)
    client.close()
    environment.cluster.wait_ready()
    return time.monotonic() - started


def test_after_a_restart_of_the_node_nothing_is_lost(lab: LabContext) -> None:
    kept = version(lab, "app")
    user = values(lab, "orders")["username"]
    print(f"back after {restart_node(lab):.0f}s")
    lab.wait_for(
        "the new log-in's database user",
        lambda: values(lab, "orders")["username"] != user,
        timeout=BACK_SECONDS,
        explain=lambda: "\n".join(lab.kube.events("orders")[-6:]),
    )
    wait_synced(lab, "VaultDynamicSecret", "orders")
    # kube-proxy hears of the new pod a moment after that is ready.
    wait_rollout(
        lab, "orders", also=lambda: works_as(lab) == [values(lab, "orders")["username"], "2"]
    )

    assert version(lab, "app") == kept, "nobody wrote the static Secret"
    found = values(lab, "orders")
    assert log_in(lab, found["username"], found["password"]) == ""
    lab.wait_for(
        "the leases of the old log-in to end",
        lambda: leases(lab) == [lease_of(lab, "orders").rpartition("/")[2]],
        timeout=90,
        explain=lambda: "\n".join([f"{len(leases(lab))} leases", *lab.kube.events("orders")[-6:]]),
    )
    assert not lab.orders.exists(user), "the database has no user of the old log-in any more"


def test_changes_arrive_as_before(lab: LabContext) -> None:
    assert same(lab, "app", kv(lab, "shop/app")["password"])
    address = f"/v1/{lab.path('kv', 'data', 'shop/app')}"
    lab.http.post(address, json={"data": {"username": "shop", "password": lab.secret("app-2")}})
    wait_value(lab, "app", lab.secret("app-2"))
