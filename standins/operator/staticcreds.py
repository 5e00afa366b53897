"""Credentials that Vault rotates by itself (database static roles, `allowStaticCreds`).

There is no lease: the answer says when Vault rotated last and in how many seconds it does so
next. The operator comes back just after that moment; when Vault is a little late it asks a
few times more before it gives up until the next pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from standins.operator import timing
from standins.operator.vaultclient import Answer

# Seconds. Vault gets half a second to do its work after the period is over.
_VAULT_TAKES = 0.5
_NEAR = 2
_GIVE_UP_AFTER = 10.0
_LONGEST_WAIT = 2.0
_JITTER = 0.45


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


async def await_rotation(
    status: dict[str, Any],
    answer: Answer,
    again: Callable[[], Awaitable[Answer]],
    now: Schedule,
) -> tuple[Answer, Schedule]:
    """The answer, asked for again while Vault is about to rotate. TimeoutError after 10 s."""
    last = status.get("staticCredsMetaData") or {}
    seen = now.known and now.last_rotation == last.get("lastVaultRotation")
    if not seen or (now.plan and now.plan != last.get("rotationSchedule")):
        return answer, now
    loop = asyncio.get_running_loop()
    deadline, wait = loop.time() + _GIVE_UP_AFTER, 0.5
    while now.last_rotation == last.get("lastVaultRotation") and now.ttl <= _NEAR:
        if loop.time() + wait > deadline:
            raise TimeoutError("near rotation, ttl<=2: Vault has not rotated in 10s")
        await asyncio.sleep(wait)
        wait = min(wait * 1.5, _LONGEST_WAIT)
        answer = await again()
        now = schedule_of(answer)
    return answer, now
