"""One work queue a kind: an object is never reconciled twice at the same time.

Watch events, errors and the horizon of the last reconcile all end in "run this key, at the
latest then". Keys wait once, however often they are asked for; a key asked for while it runs
runs again afterwards. A reconcile that raises is retried after a growing wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from standins.common.kube import KubeError
from standins.common.logs import Log
from standins.operator.model import Key
from standins.operator.timing import Backoff

# Seconds until the key runs again, or None for "when something happens".
Reconcile = Callable[[Key], Awaitable[float | None]]

log = Log(__name__)


class Controller:
    """A queue of keys and the workers that reconcile them."""

    def __init__(self, kind: str, reconcile: Reconcile, workers: int) -> None:
        self.kind = kind
        self.runs = 0
        self.failures = 0
        self._reconcile = reconcile
        self._workers = workers
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._draining = False
        self._idle = asyncio.Event()
        self._backoff = Backoff(initial=1.0, most=60.0, factor=2.0, spread=0.2)

    @property
    def depth(self) -> int:
        """Keys ready to run and not yet running."""
        return self._ready.qsize()

    def add(self, key: Key) -> None:
        """Run `key` as soon as a worker is free."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Run `key` in `seconds`, or earlier when it is due earlier already."""
        loop = asyncio.get_running_loop()
        pending = self._timers.get(key)
        if pending is not None and pending.when() <= loop.time() + seconds:
            return
        self._schedule(key, seconds)

    def forget(self, key: Key) -> None:
        """The object is gone: no timer and no backoff for it any more."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._backoff.forget(key)

    def _schedule(self, key: Key, seconds: float) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(max(seconds, 0.0), self._due, key)

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def drain(self) -> None:
        """Start nothing any more and wait for what runs: no rotation stops half-way."""
        self._draining = True
        self._idle.clear()
        while self._running:
            await self._idle.wait()
            self._idle.clear()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            if self._draining:
                continue
            self._running.add(key)
            try:
                after = await self._once(key)
            finally:
                self._running.discard(key)
                self._idle.set()
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif after is not None:
                self._schedule(key, after)

    async def _once(self, key: Key) -> float | None:
        self.runs += 1
        try:
            after = await self._reconcile(key)
        except KubeError as error:
            self.failures += 1
            after = 1.0 if error.conflict else self._backoff.next(key)
            log.info(
                "reconcile again", kind=self.kind, key=key, error=error, seconds=f"{after:.1f}"
            )
        except Exception:  # any defect: one object must not stop the others; logged with its trace
            self.failures += 1
            after = self._backoff.next(key)
            log.defect("reconcile failed", kind=self.kind, key=key, again_in=f"{after:.1f}")
        else:
            self._backoff.forget(key)
        return after
