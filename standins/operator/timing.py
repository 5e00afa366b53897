"""Durations and the moments of the next try.

Everything that decides "when again" is here: durations as text, the jittered horizons of
upstream (interfaces.md section 3.4) and the backoff for errors of the secret source. All
functions are pure but for `uniform`, which tests replace.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

# Seconds. The base of every retry that is not an error of Vault itself.
ERROR_RETRY = 5.0
RENEWAL_PERCENT_MOST = 90

Uniform = Callable[[], float]
# Jitter spreads load; nothing secret depends on it.
uniform: Uniform = random.random


def format_duration(seconds: float) -> str:
    """Seconds as Go prints a duration, to the millisecond: `1m30s`, `4.513s`, `0s`."""
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    if left < 1:
        millis = round(left * 1000)
        return "0s" if millis == 0 else f"{sign}{millis}ms"
    whole = round(left, 3)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    tail = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    head = f"{int(hours)}h" if hours else ""
    if hours or minutes:
        head += f"{int(minutes)}m"
    return sign + head + tail


def horizon(duration: float) -> float:
    """Between 80 % and 90 % of `duration` (seconds)."""
    return duration - 0.1 * duration - uniform() * 0.1 * duration


def renewal_start(duration: float, percent: int) -> float:
    """Seconds after which a lease of `duration` is inside its renewal window."""
    return duration * min(max(percent, 0), RENEWAL_PERCENT_MOST) / 100


def lease_horizon(duration: float, percent: int) -> float:
    """`percent` of the lease plus 0 to 10 % of it: 67 to 77 % by default."""
    return renewal_start(duration, percent) + 0.1 * duration - uniform() * 0.1 * duration


def error_retry() -> float:
    """4 to 4.5 seconds: the wait after an error that is not Vault's."""
    return horizon(ERROR_RETRY)


@dataclass
class Backoff:
    """Growing waits, one series a key: 5 s, x1.5, spread by half, 60 s at most, without end."""

    initial: float = 5.0
    most: float = 60.0
    factor: float = 1.5
    spread: float = 0.5
    _current: dict[Hashable, float] = field(default_factory=dict)

    def next(self, key: Hashable) -> float:
        """Seconds to wait before the next try for `key`."""
        base = self._current.get(key, self.initial)
        self._current[key] = min(base * self.factor, self.most)
        low, high = base * (1 - self.spread), base * (1 + self.spread)
        return min(low + uniform() * (high - low), self.most)

    def forget(self, key: Hashable) -> None:
        """A success: the next error of `key` starts at the beginning."""
        self._current.pop(key, None)
