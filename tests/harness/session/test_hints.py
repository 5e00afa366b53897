"""Hints come one at a time and know the state; a skipped step is passed by, not done."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.base.errors import LabError
from harness.cli import status
from harness.diagnosis import explain
from harness.environment.environment import Environment
from harness.lab.context import LabContext
from harness.lab.login_path import LoginPath
from harness.session.hints import next_hint
from harness.session.runner import Runner
from tests.fakes import toylab
from tests.fakes.toylab import toy

BOOK, LOOK, LETTER = toy.steps


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    toylab.install(monkeypatch.setattr)
    return Runner(LabContext(toylab.access(tmp_path), toy))


def test_what_is_missing_comes_first_then_one_hint_more_each_time(runner: Runner) -> None:
    first, second, third = (next_hint(runner, BOOK, "solve it") for _ in range(3))
    assert first[0].startswith("not yet true: there is a book on the shelf")
    assert first[1:] == ["Hint 1 of 2: Look at `shelf(lab)`."]
    assert second[1:] == third[1:]
    assert second[1:] == [
        "Hint 2 of 2: Write `book`: hello.",
        "That was the last one; solve it does the step.",
    ]
    assert runner.progress.hints(BOOK) == 2


def test_a_step_that_holds_needs_no_hint_and_counts_none(runner: Runner) -> None:
    (toylab.shelf(runner.context) / "book").write_text("hello")
    assert next_hint(runner, BOOK, "") == ["Step 1 holds as it is: no hint needed."]
    assert runner.progress.hints(BOOK) == 0


def test_a_step_without_hints_says_so(runner: Runner) -> None:
    (missing, says) = next_hint(runner, LOOK, "./lab solve 90.2")
    assert missing.startswith("not yet true")
    assert says == "There is no hint for this step; ./lab solve 90.2 does it."


def test_a_hint_names_the_cause(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = explain.Finding("seal", False, "Vault is sealed", "unseal it")
    monkeypatch.setattr(explain, "diagnose", lambda *_: [finding])
    monkeypatch.setattr(BOOK, "diagnoses", lambda _: LoginPath())
    text = next_hint(runner, BOOK, "")[0]
    assert "\n  cause: seal: Vault is sealed" in text
    assert "try:   unseal it" in text


def test_calls_that_fail_are_diagnosed_too(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = explain.Finding("seal", False, "Vault is sealed", "unseal it")
    monkeypatch.setattr(explain, "diagnose", lambda *_: [finding])
    monkeypatch.setattr(BOOK, "diagnoses", lambda _: LoginPath())

    def fails(_: LabContext) -> None:
        raise LabError("curl ended with status 22")

    monkeypatch.setattr(BOOK, "do", fails)
    with pytest.raises(LabError, match="cause: seal: Vault is sealed"):
        runner.solve(BOOK)


# -- skipping and reaching --------------------------------------------------------------


def test_a_skipped_step_is_passed_by_and_may_be_done_later(runner: Runner) -> None:
    assert runner.skip(BOOK)
    assert runner.next_step() is LOOK
    assert runner.begun(LOOK)
    runner.solve(BOOK)
    assert runner.progress.state(BOOK) == "solved"
    assert not runner.skip(BOOK)
    assert runner.progress.state(BOOK) == "solved"


def test_status_tells_skipped_from_done(runner: Runner) -> None:
    environment = cast(Environment, SimpleNamespace(folder=runner.context.access.state))
    runner.skip(BOOK)
    (lab,) = status.status_of_labs(environment)
    assert (lab["done"], lab["skipped"], lab["next"]) == (0, 1, "90.2 Look at the shelf")
    assert status.first_open(environment) == "90"


def test_reach_goes_forwards_and_tells_what_it_did(runner: Runner) -> None:
    done: list[Any] = []
    runner.skip(BOOK)
    runner.reach(LETTER, lambda step, seconds: done.append((step, seconds >= 0)))
    assert done == [(BOOK, True), (LOOK, True)]
    assert runner.progress.state(BOOK) == "solved"
    assert runner.next_step() is LETTER


def test_reach_goes_backwards(runner: Runner) -> None:
    for step in toy.steps:
        runner.solve(step)
    runner.reach(LETTER)
    assert [file.name for file in toylab.shelf(runner.context).iterdir()] == ["book"]
    assert runner.next_step() is LETTER
    runner.reach(BOOK)
    assert list(toylab.shelf(runner.context).iterdir()) == []


def test_reach_takes_away_what_a_broken_attempt_left(runner: Runner) -> None:
    runner.solve(BOOK)
    (toylab.shelf(runner.context) / "half").write_text("")
    runner.reach(LOOK)
    assert [file.name for file in toylab.shelf(runner.context).iterdir()] == ["book"]
