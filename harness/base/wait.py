"""Waiting that explains itself when it gives up.

The one place in this project that sleeps. `wait_for` calls a probe until it returns
something true, under one monotonic deadline. Only the transient errors that the caller
lists are retried: anything else is a real answer and is raised at once. When it gives
up, it names the condition, the last value and the last error it saw, and what
`explain` can add: events, log lines, Vault's answer.

Ctrl-C reaches the main thread alone; waits of other threads end with their task
(harness.base.tasks).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from harness.base import tasks
from harness.base.errors import GaveUp
from harness.base.redact import redact

T = TypeVar("T")


def wait_for(
    what: str,
    probe: Callable[[], T],
    *,
    timeout: float = 60.0,
    every: float = 0.25,
    transient: tuple[type[Exception], ...] = (),
    explain: Callable[[], str] | None = None,
    hint: str = "",
) -> T:
    """Call `probe` each `every` seconds until it returns a true value; return that.

    `what` completes the sentence "waited for …". `timeout` is in seconds. Raises GaveUp
    with the last value, the last transient error and the text of `explain()`. Raises
    tasks.Ended at once when the task of this thread is to end.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    error: Exception | None = None
    while True:
        try:
            value = probe()
            if value:
                return value
            last, error = value, None
        except transient as caught:
            error = caught
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        pause(min(every, remaining), what)
    seen = f"last error: {error}" if error else f"last seen: {last!r}"
    details = _explanation(explain)
    raise GaveUp(
        redact(f"waited {timeout:.0f}s for {what}; {seen}" + (f"\n{details}" if details else "")),
        hint=hint or "./lab status, then the same command again",
    )


def pause(seconds: float, what: str = "time to pass") -> None:
    """Let `seconds` pass where time itself is the subject (a TTL that must run out).

    Raises tasks.Ended as soon as the task of this thread is to end.
    """
    end = tasks.current()
    if end is None:
        time.sleep(seconds)
    elif end.over.wait(seconds):
        raise tasks.Ended(f"the wait for {what} was ended")


def _explanation(explain: Callable[[], str] | None) -> str:
    if explain is None:
        return ""
    try:
        return explain()
    except Exception as error:  # an explanation that fails must not hide the real failure
        return f"(no explanation: {type(error).__name__}: {error})"
