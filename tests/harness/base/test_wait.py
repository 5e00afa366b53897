"""Waiting ends with a value or with an explanation."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from harness.base import tasks
from harness.base.errors import GaveUp
from harness.base.wait import wait_for


def test_returns_the_first_true_value() -> None:
    answers: Iterator[str] = iter(["", "", "ready"])
    assert wait_for("it", lambda: next(answers), timeout=5, every=0.001) == "ready"


def test_giving_up_names_condition_last_value_and_explanation() -> None:
    with pytest.raises(GaveUp) as caught:
        wait_for(
            "the moon",
            lambda: [],
            timeout=0.01,
            every=0.001,
            explain=lambda: "it is behind a cloud",
        )
    text = str(caught.value)
    assert "waited 0s for the moon" in text
    assert "last seen: []" in text
    assert "behind a cloud" in text
    assert caught.value.exit_code == 4


def test_only_listed_errors_are_retried() -> None:
    calls: list[int] = []

    def probe() -> bool:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("not yet")
        raise KeyError("a real answer")

    with pytest.raises(KeyError):
        wait_for("it", probe, timeout=5, every=0.001, transient=(ConnectionError,))
    assert len(calls) == 3


def test_the_last_transient_error_is_told() -> None:
    def probe() -> bool:
        raise ConnectionError("connection refused by the door")

    with pytest.raises(GaveUp, match="refused by the door"):
        wait_for("it", probe, timeout=0.01, every=0.001, transient=(ConnectionError,))


def test_a_failing_explanation_does_not_hide_the_failure() -> None:
    def explain() -> str:
        raise RuntimeError("no cluster")

    with pytest.raises(GaveUp) as caught:
        wait_for("it", lambda: False, timeout=0.01, every=0.001, explain=explain)
    assert "no explanation: RuntimeError: no cluster" in caught.value.what


def test_a_wait_is_ended_from_outside_and_no_later_one() -> None:
    end = tasks.End()
    threading.Timer(0.05, end.now).start()
    started = time.monotonic()
    with end.entered(), pytest.raises(tasks.Ended, match="the wait for the moon was ended"):
        wait_for("the moon", lambda: False, timeout=60, every=30)
    assert time.monotonic() - started < 10
    with pytest.raises(GaveUp, match="waited 0s for the moon"):
        wait_for("the moon", lambda: False, timeout=0.01, every=0.001)
