"""Credentials that Vault rotates: waiting for a rotation that is due, and giving up."""

from __future__ import annotations

from typing import Any

import pytest

from standins.operator import staticcreds
from standins.operator.staticcreds import await_rotation, schedule_of
from standins.operator.vaultclient import Answer
from tests.standins.operator.world import play


def answer(second: int, ttl: int, **more: Any) -> Answer:
    data = {"last_vault_rotation": f"2026-01-01T00:00:{second:02d}.123456789Z", "ttl": ttl}
    return Answer(data={"rotation_period": 60, **data, **more})


def status_after(seen: Answer) -> dict[str, Any]:
    return {"staticCredsMetaData": schedule_of(seen).status()}


def test_schedules_are_read() -> None:
    found = schedule_of(answer(1, 30))
    assert (found.period, found.ttl, found.known) == (60, 30, True)
    assert found.last_rotation == 1767225601
    after = found.after()
    assert after is not None
    assert 30.5 <= after <= 31
    assert not schedule_of(Answer(data={"username": "x"})).known
    assert schedule_of(Answer(data={})).after() is None


def test_a_rotation_that_is_due_is_waited_for() -> None:
    async def scene() -> None:
        old, new = answer(1, 1), answer(2, 59)
        given = [answer(1, 0), new]

        async def again() -> Answer:
            return given.pop(0)

        found, schedule = await await_rotation(status_after(old), old, again, schedule_of(old))
        assert found is new
        assert schedule.ttl == 59

    play(scene)


def test_a_rotation_that_is_far_is_not_waited_for() -> None:
    async def scene() -> None:
        async def again() -> Answer:
            raise AssertionError("Vault must not be asked again")

        far = answer(1, 30)
        assert (await await_rotation(status_after(far), far, again, schedule_of(far)))[0] is far
        fresh = answer(9, 1)
        found = await await_rotation(status_after(far), fresh, again, schedule_of(fresh))
        assert found[0] is fresh, "rotated since the last sync"

    play(scene)


def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staticcreds, "_GIVE_UP_AFTER", 0.6)

    async def scene() -> None:
        old = answer(1, 0)

        async def again() -> Answer:
            return old

        with pytest.raises(TimeoutError, match="Vault has not rotated"):
            await await_rotation(status_after(old), old, again, schedule_of(old))

    play(scene)
