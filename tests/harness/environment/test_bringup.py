"""What is brought up side by side ends together: after a failure, and after Ctrl-C."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import cast

import pytest

from harness.base.errors import LabError
from harness.base.progress import Silent
from harness.base.wait import wait_for
from harness.environment import bringup
from harness.environment.bringup import BringUp, Options
from harness.environment.layout import Place


class Cluster:
    """Counts how often its creation was ended."""

    ended = 0

    def end_creation(self) -> None:
        self.ended += 1


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def up(cluster: Cluster) -> BringUp:
    return BringUp(cast(Place, SimpleNamespace(cluster=cluster)), Options(), Silent())


def waits() -> str:
    wait_for("somebody who never comes", lambda: False, timeout=60, every=30)
    return "came"


def fails() -> str:
    raise LabError("the image is broken")


def test_all_are_done(up: BringUp, cluster: Cluster) -> None:
    done: list[str] = []

    def note() -> str:
        done.append("x")
        return "done"

    up._at_once({"one": note, "two": note})
    up._at_once({})
    assert len(done) == 2
    assert cluster.ended == 0


def test_the_first_failure_ends_the_others_and_is_raised(up: BringUp, cluster: Cluster) -> None:
    started = time.monotonic()
    with pytest.raises(LabError, match="the image is broken"):
        up._at_once({"slow": waits, "bad": fails, "slow too": waits})
    assert time.monotonic() - started < 10
    assert cluster.ended


def test_ctrl_c_ends_all_that_wait(
    up: BringUp, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_running: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bringup, "wait", interrupted)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        up._at_once({"slow": waits, "slow too": waits})
    assert time.monotonic() - started < 10
    assert cluster.ended
