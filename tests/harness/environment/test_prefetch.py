"""What is fetched while a lab is told: for the later labs, in the background, ended with it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from harness.base import process
from harness.base.errors import UsageError
from harness.base.wait import wait_for
from harness.environment import parts
from harness.environment.prefetch import fetching
from harness.supply.engine import proc
from tests.fakes.progress import Silent
from tests.fakes.toylab import toy


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "fetch.log"


def program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this shell script stand for Python."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))


def test_the_later_labs_parts_are_fetched_politely(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, 'echo "$@ niceness $(nice)"', monkeypatch)
    with fetching([toy], "offline", "openbao", "1.37", log):
        wait_for("the log", lambda: log.exists() and "niceness" in log.read_text(), timeout=10)
    niceness = log.read_text().split()[-1]
    assert (
        f"fetch --supply offline --vault openbao --kubernetes 1.37 {toy.number} niceness"
        in log.read_text()
    )
    assert int(niceness) >= 10


def test_what_is_unfinished_ends_with_the_labs(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "echo $$; exec sleep 60", monkeypatch)
    with fetching([toy], "auto", "vault", "1.36", log):
        wait_for("the log", lambda: log.exists() and log.read_text().strip(), timeout=10)
        started = time.monotonic()
    assert time.monotonic() - started < process.GRACE_SECONDS
    assert not proc.started(int(log.read_text()))


def test_a_failure_is_left_for_the_lab_that_needs_the_part(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "echo the disk is full; exit 3", monkeypatch)
    with fetching([toy], "auto", "vault", "1.36", log):
        wait_for("the log", lambda: log.exists() and log.read_text(), timeout=10)
    assert log.read_text() == "the disk is full\n"


def test_the_last_lab_fetches_nothing(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "run", lambda *_, **__: pytest.fail("a program was started"))
    with fetching([], "auto", "vault", "1.36", log):
        pass
    assert not log.exists()


def test_parts_of_an_unknown_flavour_are_refused() -> None:
    with pytest.raises(UsageError, match="no Vault flavour 'etcd'"):
        parts.provide("auto", ["etcd"], [], Silent())
