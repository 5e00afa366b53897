"""The Lease of an election: who leads, and when nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from standins.common import election
from standins.common.election import Election, LeadershipLost
from tests.fakes.kube import MemoryKube

HOME, LEASE = "vso", "the-lease"
WHERE = ("Lease", HOME, LEASE)


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Run one asynchronous test."""

    async def limited() -> None:
        async with asyncio.timeout(20):
            await scene()

    asyncio.run(limited())


def test_one_leads_and_a_released_lease_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(election, "DURATION", 1.0)

    async def scene() -> None:
        kube = MemoryKube()
        first, second = (Election(kube, HOME, LEASE, name, retry=0.02) for name in ("a", "b"))
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await first.resign()
        await asyncio.wait_for(waiting, 1)
        with pytest.raises(LeadershipLost, match="another replica"):
            await asyncio.wait_for(first.hold(), 1)
        # A dead holder: nobody renews, the Lease runs out by the waiting one's clock.
        third = Election(kube, HOME, LEASE, "c", retry=0.05)
        await asyncio.wait_for(third.acquire(), 3)
        # The same pod, restarted, carries on at once.
        await asyncio.wait_for(Election(kube, HOME, LEASE, "c").acquire(), 0.5)

    play(scene)


def test_a_leader_without_api_server_steps_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(election, "RENEW_WITHIN", 0.1)

    async def scene() -> None:
        kube = MemoryKube()
        leader = Election(kube, HOME, LEASE, "a", retry=0.03)
        await leader.acquire()
        kube.down = True
        with pytest.raises(LeadershipLost, match="could not be renewed"):
            await leader.hold()

    play(scene)


def test_a_leader_stops_before_another_may_begin() -> None:
    async def scene() -> None:
        kube, clock = MemoryKube(), Clock()
        first, second = (Election(kube, HOME, LEASE, name, clock=clock) for name in ("a", "b"))
        assert await first.take_part()
        assert not await second.take_part()
        # Cut off from the API server, it leads on for less than the Lease lasts.
        clock.now = 9.9
        kube.failures["get", "Lease"] = (500, "etcd is away")
        assert await first.take_part()
        clock.now = 10.0
        assert not first.leading
        assert not await second.take_part()
        clock.now = 15.0
        assert await second.take_part()
        assert not await first.take_part()

    play(scene)


def test_expiry_is_judged_by_the_own_clock() -> None:
    async def scene() -> None:
        kube, clock = MemoryKube(), Clock()
        # Whatever the other machine's clock says.
        spec = {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "1999"}
        kube.add("Lease", HOME, {"metadata": {"name": LEASE}, "spec": spec})
        mine = Election(kube, HOME, LEASE, "me", clock=clock)
        assert await mine.take_part() is False
        clock.now = 14
        assert await mine.take_part() is False
        kube.edit(*WHERE, {"spec": {"renewTime": "2000"}})
        clock.now = 16
        assert await mine.take_part() is False
        clock.now = 32
        assert await mine.take_part() is True

    play(scene)


def test_a_lost_race_does_not_make_a_second_leader() -> None:
    async def scene() -> None:
        kube, clock = MemoryKube(), Clock()
        one, two = (Election(kube, HOME, LEASE, name, clock=clock) for name in ("one", "two"))

        def faster(verb: str, kind: str, name: str) -> None:
            kube.before_write = lambda *_: None
            spec = {"holderIdentity": "two", "leaseDurationSeconds": 15}
            kube.add("Lease", HOME, {"metadata": {"name": LEASE}, "spec": spec})

        kube.before_write = faster
        assert not await one.take_part()
        assert await two.take_part()
        # A conflict costs a leader nothing but this round.
        kube.failures["replace", "Lease"] = (409, "the object has been modified")
        assert await two.take_part()

    play(scene)


def test_the_lease_tells_who_leads_since_when() -> None:
    async def scene() -> None:
        kube = MemoryKube()
        one, two = (Election(kube, HOME, LEASE, name, labels={"a": "b"}) for name in ("one", "two"))
        assert await one.take_part()
        first = kube.objects[WHERE]["spec"]
        assert await one.take_part()
        second = kube.objects[WHERE]["spec"]
        assert second["acquireTime"] == first["acquireTime"]
        assert second["leaseTransitions"] == 0
        await one.resign()
        released = kube.objects[WHERE]["spec"]
        assert (released["holderIdentity"], released["leaseDurationSeconds"]) == ("", 1)
        assert await two.take_part()
        lease = kube.objects[WHERE]
        assert lease["metadata"]["labels"] == {"a": "b"}
        assert lease["spec"]["holderIdentity"] == "two"
        assert lease["spec"]["leaseDurationSeconds"] == 15
        assert lease["spec"]["leaseTransitions"] == 1
        assert lease["spec"]["renewTime"].endswith("Z")
        # Nothing to give back is no error, nor is an API server that is away.
        await one.resign()
        kube.down = True
        await two.resign()

    play(scene)
