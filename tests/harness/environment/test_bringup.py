"""What is brought up side by side ends together: after a failure, and after Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from types import SimpleNamespace
from typing import cast

import pytest

from harness.base.errors import LabError
from harness.base.wait import wait_for
from harness.environment.bringup import BringUp, Options
from harness.environment.layout import EnvironmentLayout
from tests.fakes.progress import Silent


@pytest.fixture
def up() -> BringUp:
    return BringUp(cast(EnvironmentLayout, SimpleNamespace()), Options(), Silent())


def waits() -> str:
    wait_for("somebody who never comes", lambda: False, timeout=60, every=30)
    return "came"


def fails() -> str:
    raise LabError("the image is broken")


def test_all_are_done(up: BringUp) -> None:
    done: list[str] = []

    def note() -> str:
        done.append("x")
        return "done"

    up._at_once({"one": note, "two": note})
    up._at_once({})
    assert len(done) == 2


def test_the_first_failure_ends_the_others_and_is_raised(up: BringUp) -> None:
    started = time.monotonic()
    with pytest.raises(LabError, match="the image is broken"):
        up._at_once({"slow": waits, "bad": fails, "slow too": waits})
    assert time.monotonic() - started < 10


def test_ctrl_c_ends_all_that_wait(up: BringUp) -> None:
    waiting = threading.Event()

    def waits_after_saying_so() -> str:
        waiting.set()
        return waits()

    def interrupt() -> None:
        assert waiting.wait(10)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        up._at_once({"slow": waits_after_saying_so, "slow too": waits})
    assert time.monotonic() - started < 5
