"""Credentials that Vault rotates: waiting for a rotation that is due, and giving up."""

from __future__ import annotations

import time
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
    assert 30.5 <= after <= 30.65
    assert not schedule_of(Answer(data={"username": "x"})).known
    assert schedule_of(Answer(data={})).after() is None


def test_a_rotation_that_is_due_is_waited_for() -> None:
    async def scene() -> None:
        old, new = answer(1, 1), answer(2, 59)
        given = [answer(1, 0), new]

        async def again() -> Answer:
            return given.pop(0)

        found, schedule = await await_rotation(status_after(old), old, again)
        assert found is new
        assert schedule.ttl == 59

    play(scene)


def test_only_the_same_rotation_is_looked_at_twice() -> None:
    async def scene() -> None:
        asked = 0

        async def again() -> Answer:
            nonlocal asked
            asked += 1
            return far

        far = answer(1, 30)
        assert (await await_rotation(status_after(far), far, again))[0] is far
        assert asked == 1, "a second look, as upstream takes it"
        fresh = answer(9, 1)
        found = await await_rotation(status_after(far), fresh, again)
        assert found[0] is fresh, "rotated since the last sync"
        planned = answer(1, 1, rotation_period=0, rotation_schedule="*/2 * * * *")
        assert (await await_rotation(status_after(far), planned, again))[0] is planned
        assert asked == 1

    play(scene)


def scheduled(second: int, ttl: int) -> Answer:
    return answer(second, ttl, rotation_period=0, rotation_schedule="* * * * *")


@pytest.mark.parametrize(
    ("last_ttl", "since", "ttl", "fault"),
    [
        # The minute is over, Vault counts the next one and has not rotated yet.
        (59, 59, 59, "TTL reset detected, awaiting scheduled rotation commit"),
        # An uneven schedule: two minutes end, one minute begins.
        (119, 119, 59, "TTL reset detected, awaiting scheduled rotation commit"),
        (119, 115, 6, "TTL reset detected, awaiting scheduled rotation commit"),
        (59, 57, 2, "near rotation, ttl<=2"),
        (59, 30, 29, ""),
        # A little late in its count, and within the tolerance.
        (59, 55, 5, ""),
    ],
)
def test_a_count_started_anew_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, last_ttl: int, since: int, ttl: int, fault: str
) -> None:
    monkeypatch.setattr(staticcreds, "_GIVE_UP_AFTER", 0.1)

    async def scene() -> None:
        old = scheduled(1, last_ttl)
        status = {**status_after(old), "lastRenewalTime": int(time.time()) - since}
        seen = scheduled(1, ttl)

        async def again() -> Answer:
            return seen

        if fault:
            with pytest.raises(TimeoutError, match=fault):
                await await_rotation(status, seen, again)
        else:
            assert (await await_rotation(status, seen, again))[0] is seen

    play(scene)


def test_the_rotation_that_comes_late_is_taken() -> None:
    """At the scheduled minute: twice the old password with a full count, then the new one."""

    async def scene() -> None:
        old = scheduled(0, 59)
        status = {**status_after(old), "lastRenewalTime": int(time.time()) - 60}
        new = scheduled(59, 58)
        given = [scheduled(0, 59), new]

        async def again() -> Answer:
            return given.pop(0)

        found, schedule = await await_rotation(status, scheduled(0, 60), again)
        assert found is new
        assert schedule.last_rotation > schedule_of(old).last_rotation

    play(scene)


def test_only_what_rotates_is_compared() -> None:
    data = {
        "username": b"u",
        "password": b"p",
        "ttl": b"1",
        "ttl_note": b"",
        "rotation_period": b"",
        "my_last_vault_rotation": b"",
        "_raw": b"{}",
    }
    assert staticcreds.fingerprinted(data) == {"username": b"u", "password": b"p"}


def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staticcreds, "_GIVE_UP_AFTER", 0.6)

    async def scene() -> None:
        old = answer(1, 0)

        async def again() -> Answer:
            return old

        with pytest.raises(TimeoutError, match="near rotation, ttl<=2"):
            await await_rotation(status_after(old), old, again)

    play(scene)
