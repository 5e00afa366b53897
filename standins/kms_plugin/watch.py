"""Whether encrypting would work now, and with which version of the key.

A look reads the key from Vault; every ROUND_TRIP seconds, after any failure and for every
new version it also encrypts and decrypts a random value, because the permission to read
the key says nothing about those to use it. Callers that come during a look share it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from standins.common.logs import Log
from standins.kms_plugin.errors import Absent, Problem, Unreachable, defect
from standins.kms_plugin.transit import Key, Transit, Version
from standins.kms_plugin.vault import Vault

log = Log(__name__)

ROUND_TRIP = 30.0
PROBE_BYTES = 32


@dataclass(frozen=True)
class View:
    """What a look found.

    `key` is the last known one and `problem` what is wrong now; `absent` says that Vault,
    when it last answered, had no such key.
    """

    key: Key | None
    problem: Problem | None
    absent: bool


class Watch:
    """Looks at one key and remembers the last version that it saw."""

    def __init__(
        self,
        vault: Vault,
        transit: Transit,
        *,
        round_trip: float = ROUND_TRIP,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vault = vault
        self._transit = transit
        self._round_trip = round_trip
        self._clock = clock
        self._key: Key | None = None
        self._absent = False
        self._proven: Version | None = None
        self._proven_at = 0.0
        self._said: str | None = None
        self._look: asyncio.Task[View] | None = None

    async def look(self, seconds: float) -> View:
        """The state of things, in at most `seconds`. Never raises Problem."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._find())
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._look)
        except TimeoutError:
            return self._view(self._vault.slow(seconds))

    def doubt(self) -> None:
        """A call went wrong: let the next look prove anew that the key is of use."""
        self._proven = None

    async def _find(self) -> View:
        try:
            async with asyncio.timeout(self._vault.timeout):
                await self._check()
        except Absent as problem:
            self._key, self._absent = None, True
            view = self._view(problem)
        except Problem as problem:
            view = self._view(problem)
        except TimeoutError:
            view = self._view(self._vault.slow(self._vault.timeout))
        except Exception as error:
            # A status is an answer, whatever happens: kube-apiserver acts on it.
            view = self._view(defect("the look at the key", error))
        else:
            view = self._view(None)
        if view.problem:
            self.doubt()
        self._tell(view)
        return view

    def _view(self, problem: Problem | None) -> View:
        return View(self._key, problem, self._absent)

    async def _check(self) -> None:
        key = await self._transit.key()
        self._key, self._absent = key, False
        if self._proven == key.latest and self._clock() < self._proven_at + self._round_trip:
            return
        value = secrets.token_bytes(PROBE_BYTES)
        wrapped = await self._transit.encrypt(value, key.latest)
        if await self._transit.decrypt(wrapped, key.latest) != value:
            raise Unreachable(
                f"Vault at {self._vault.address} decrypts with {self._transit.label} to"
                " something else than was encrypted; do not write with it"
            )
        self._proven, self._proven_at = key.latest, self._clock()

    def _tell(self, view: View) -> None:
        """Log a change once, however often it is looked at."""
        said = str(view.problem) if view.problem else str(view.key and view.key.latest)
        if said == self._said:
            return
        self._said = said
        if view.problem:
            log.warn("unhealthy", problem=said)
        else:
            log.info("healthy", key=self._transit.label, version=said)
