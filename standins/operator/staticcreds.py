"""Credentials that Vault rotates by itself (database static roles, `allowStaticCreds`).

There is no lease: the answer says when Vault rotated last and in how many seconds it does so
next. The operator comes back just after that moment; when Vault is a little late it asks a
few times more before it gives up until the next pass.

With a schedule Vault counts the seconds anew at the scheduled moment and rotates up to some
seconds later. Who asks in between gets the old password with the time of a whole period:
that answer must not be believed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from standins.operator import timing
from standins.operator.vaultclient import Answer

# Seconds. Vault gets half a second to do its work after the period is over.
_VAULT_TAKES = 0.5
_NEAR = 2
# How far a count-down may be off before it was started anew: some waits between two looks.
_TOLERANCE = 5
_GIVE_UP_AFTER = 10.0
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 2.0
_SPREAD = 0.5
_JITTER = 0.15

# What changes at every look, or only with a rotation's plan: no part of the credentials.
_TIMES = ("rotation_schedule", "rotation_period", "last_vault_rotation")


@dataclass(frozen=True)
class Schedule:
    """`status.staticCredsMetaData`; all zero when the credentials are not static."""

    last_rotation: int = 0
    period: int = 0
    plan: str = ""
    ttl: int = 0

    @property
    def known(self) -> bool:
        """Whether Vault told when it rotates."""
        return self.last_rotation > 0 and (self.period >= 1 or bool(self.plan))

    def status(self) -> dict[str, Any]:
        """The form of the status field."""
        return {
            "lastVaultRotation": self.last_rotation,
            "rotationPeriod": self.period,
            "rotationSchedule": self.plan,
            "ttl": self.ttl,
        }

    def after(self) -> float | None:
        """Seconds until just after Vault's next rotation; None when that is unknown."""
        if not self.known:
            return None
        base = float(self.ttl) if self.ttl > 0 else 1.0
        if self.ttl > 0 and self.period > 0:
            base += _VAULT_TAKES
        return base + _JITTER * timing.uniform()


def schedule_of(answer: Answer) -> Schedule:
    """The schedule in Vault's answer. ValueError when its time cannot be read."""
    data = answer.data
    last = str(data.get("last_vault_rotation") or "")
    # Python reads microseconds, Vault writes nanoseconds: the seconds are what counts.
    moment = datetime.fromisoformat(last.split(".")[0].removesuffix("Z") + "+00:00") if last else 0
    return Schedule(
        last_rotation=int(moment.timestamp()) if isinstance(moment, datetime) else 0,
        period=int(data.get("rotation_period") or 0),
        plan=str(data.get("rotation_schedule") or ""),
        ttl=int(data.get("ttl") or 0),
    )


def fingerprinted(data: Mapping[str, bytes]) -> dict[str, bytes]:
    """The part of a Secret's data that only changes with the credentials.

    The keys are upstream's, by its pattern: what begins with ttl, holds one of the names of
    the rotation's times, or ends in _raw.
    """
    return {
        key: value
        for key, value in data.items()
        if not key.startswith("ttl")
        and not key.endswith("_raw")
        and not any(name in key for name in _TIMES)
    }


async def await_rotation(
    status: Mapping[str, Any], answer: Answer, again: Callable[[], Awaitable[Answer]]
) -> tuple[Answer, Schedule]:
    """The answer, asked for again while Vault is about to rotate. TimeoutError after 10 s."""
    first = schedule_of(answer)
    last = status.get("staticCredsMetaData") or {}
    seen = first.known and first.last_rotation == last.get("lastVaultRotation")
    if not seen or (first.plan and first.plan != last.get("rotationSchedule")):
        return answer, first
    loop = asyncio.get_running_loop()
    deadline, wait = loop.time() + _GIVE_UP_AFTER, _FIRST_WAIT
    while True:
        answer = await again()
        now = schedule_of(answer)
        fault = _not_yet(status, first, now)
        if not fault:
            return answer, now
        pause = wait * (1 - _SPREAD + 2 * _SPREAD * timing.uniform())
        if loop.time() + pause > deadline:
            raise TimeoutError(fault)
        await asyncio.sleep(pause)
        wait = min(wait * 1.5, _LONGEST_WAIT)


def _not_yet(status: Mapping[str, Any], first: Schedule, now: Schedule) -> str:
    """Why the answer with `now` is from before a rotation that is due; "" when it is not."""
    if now.last_rotation != first.last_rotation:
        return ""
    if now.ttl <= _NEAR:
        return f"near rotation, ttl<={_NEAR}"
    if not first.plan:
        return ""
    last = int((status.get("staticCredsMetaData") or {}).get("ttl") or 0)
    since = int(time.time()) - int(status.get("lastRenewalTime") or 0)
    expected = max(last - since, 0)
    # Either it went up, or it should be at its end and is not (an uneven schedule: the next
    # period is shorter than the one that ends).
    if now.ttl >= last or expected <= _TOLERANCE < now.ttl:
        return "TTL reset detected, awaiting scheduled rotation commit"
    return ""
