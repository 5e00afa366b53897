"""The database users of the labs: their leases end whatever has happened to the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from psycopg import sql

from harness.lab.context import LabContext
from harness.session.runner import Runner

pytestmark = pytest.mark.live


@pytest.fixture
def engine(lab_context: Callable[[str], LabContext]) -> Iterator[tuple[LabContext, str]]:
    """Lab 01 with a database engine, and the engine's path."""
    lab = lab_context("01")
    runner = Runner(lab)
    runner.reset()
    lab.prepare()
    path = lab.path("db")
    lab.orders.prepare()
    lab.http.post(f"/v1/sys/mounts/{path}", json={"type": "database"})
    lab.http.post(f"/v1/{path}/config/shop", json=lab.orders.connection(roles=["app"]))
    lab.http.post(
        f"/v1/{path}/roles/app",
        json=lab.orders.role(default_ttl="5m"),
    )
    yield lab, path
    runner.reset()


def test_a_user_reads_the_orders_and_nothing_more(engine: tuple[LabContext, str]) -> None:
    lab, path = engine
    found = lab.http.get(f"/v1/{path}/creds/app").json()["data"]
    with lab.postgres.connect(found["username"], found["password"]) as connection:
        count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(lab.orders.table))
        rows = connection.execute(count).fetchone()
        allowed = connection.execute(
            "SELECT has_table_privilege(%s, 'INSERT'), rolcreaterole FROM pg_roles"
            " WHERE rolname = current_user",
            [lab.orders.table],
        ).fetchone()
    assert rows == (2,)
    assert allowed == (False, False)


def test_a_lease_ends_although_its_user_is_gone(engine: tuple[LabContext, str]) -> None:
    # A lease that runs out while its token is revoked is ended twice at the same time.
    lab, path = engine
    answer = lab.http.get(f"/v1/{path}/creds/app").json()
    user = answer["data"]["username"]
    with lab.postgres.connect() as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))
    lab.http.put(
        "/v1/sys/leases/revoke", json={"lease_id": answer["lease_id"], "sync": True}, allow={204}
    )
    left = lab.http.list(f"/v1/sys/leases/lookup/{path}/creds/app", allow={404})
    assert left.status_code == 404, "Vault keeps no lease of it"
