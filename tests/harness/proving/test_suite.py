"""What `lab test` makes of a stage's exit status, and how its rounds go side by side."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base import process
from harness.base.paths import CHECKOUT
from harness.lab import catalog
from harness.proving import suite
from harness.proving.suite import Shard


@pytest.mark.parametrize(
    ("status", "chosen", "passed", "note"),
    [
        (0, (), True, ""),
        (1, (), False, "status 1"),
        (5, (), False, "status 5"),
        (5, ("-k", "05"), True, "none chosen"),
        (1, ("-k", "05"), False, "status 1"),
    ],
)
def test_a_stage_without_tests_is_fine_only_when_some_were_chosen(
    status: int,
    chosen: tuple[str, ...],
    passed: bool,
    note: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(command: list[str], **_: object) -> None:
        if status:
            raise process.CommandFailed(" ".join(command), status=status, output="")

    monkeypatch.setattr(process, "run", run)
    result = suite._stage("stage", ["pytest"], chosen=chosen)
    assert (result.passed, result.note) == (passed, note)


SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the environments that were removed; none is ever there."""
    names: list[str] = []

    def environment(name: str) -> Any:
        return SimpleNamespace(record={}, down=lambda: names.append(name))

    monkeypatch.setattr(suite, "Environment", environment)
    return names


def programs(of: dict[str, str]) -> Callable[..., list[str]]:
    """Stands for pytest's command: the Python program of a stage, by its report."""
    return lambda report, *_: [sys.executable, "-c", of[report]]


def one_stage(*names: str) -> list[Shard]:
    return [Shard(f"env-{name}", "vault", ((name, ()),)) for name in names]


@pytest.mark.parametrize(("gib", "side_by_side"), [(16.0, True), (2.0, False)])
def test_two_rounds_go_side_by_side_where_there_is_memory(
    gib: float,
    side_by_side: bool,
    removed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Each says that it is there, then waits a moment: does the other one come meanwhile?
    program = "import time; print('here', flush=True); time.sleep(0.5); print('gone')"
    monkeypatch.setattr(suite, "available_gib", lambda: gib)
    monkeypatch.setattr(suite, "_pytest", programs({"one": program, "two": program}))
    results = suite._live(one_stage("one", "two"), "auto", ())
    assert [(result.stage, result.passed) for result in results] == [("one", True), ("two", True)]
    assert sorted(removed) == ["env-one", "env-two"]
    told = [line for line in capsys.readouterr().out.splitlines() if "──" not in line]
    assert sorted(told) == sorted(f"env-{n}: {w}" for n in ("one", "two") for w in ("here", "gone"))
    assert all("here" in line for line in told[:2]) is side_by_side


def test_a_round_goes_on_after_a_failed_stage_and_beside_a_failed_round(
    removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = {"bad": "raise SystemExit(1)", "after": "", "other": ""}
    monkeypatch.setattr(suite, "_pytest", programs(of))
    todo = [Shard("env", "vault", (("bad", ()), ("after", ()))), *one_stage("other")]
    results = suite._live(todo, "auto", ())
    assert [(r.stage, r.passed, r.note) for r in results] == [
        ("bad", False, "status 1"),
        ("after", True, ""),
        ("other", True, ""),
    ]
    assert sorted(removed) == ["env", "env-other"]


def test_ctrl_c_ends_all_rounds_and_removes_nothing(
    removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    began = threading.Event()
    monkeypatch.setattr(suite, "available_gib", lambda: 16.0)
    monkeypatch.setattr(suite, "_pytest", programs({"one": SLEEP, "two": SLEEP, "three": SLEEP}))
    monkeypatch.setattr(suite, "_say", lambda line: began.set())

    def interrupt() -> None:
        began.wait(10)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        suite._live(one_stage("one", "two", "three"), "auto", ())
    assert time.monotonic() - started < 15
    assert removed == []


def test_every_lab_and_every_notebook_is_in_one_round() -> None:
    words = [word for one in suite.shards() for _, stage in one.stages for word in stage]
    numbers = [words[at + 1] for at, word in enumerate(words) if word == "--lab-only"]
    assert sorted(numbers) == [lab.number for lab in catalog.all_labs()]
    notebooks = [word for word in words if word.endswith(".ipynb")]
    assert len(notebooks) == len(set(notebooks)) == len(catalog.all_labs())
    names = [one.environment for one in suite.shards()]
    assert len(names) == len(set(names))
    assert "lab" not in names, "a learner's own"
    for file in suite.SLOW_LAB_TESTS:
        assert (CHECKOUT / file).is_file(), "the first round leaves it out"
