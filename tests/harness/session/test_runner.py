"""Checks look at everything and end in a sentence; a skipped step is done nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import CheckFailed, CheckUnfinished, EnvironmentLacks, LabError
from harness.cli import common, steps
from harness.cli import main as cli
from harness.clients.vault import VaultRefused, VaultUnreachable
from harness.diagnosis import explain
from harness.lab.context import LabContext
from harness.notebook.lab import NotebookLab
from harness.session.runner import Runner
from tests.fakes import toylab
from tests.fakes.toylab import toy

BOOK, LOOK, LETTER = toy.steps
NOTHING: Any = None


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    toylab.install(monkeypatch.setattr)
    monkeypatch.setattr(explain, "diagnose", lambda *_: [])
    return Runner(LabContext(toylab.access(tmp_path), toy))


@pytest.fixture
def lab(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command about the toy: its exit code, and what it says."""
    monkeypatch.setattr(steps, "context", lambda *_: runner.context)
    monkeypatch.setattr(common.messages, "width", 200)

    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        status = cli.main(list(words))
        return status, capsys.readouterr().err

    return run


def books(runner: Runner) -> list[str]:
    return sorted(file.name for file in toylab.shelf(runner.context).iterdir())


# -- solving --------------------------------------------------------------------------------


def test_solving_through_a_step_does_what_was_skipped(runner: Runner) -> None:
    runner.skip(BOOK)
    begun: list[Any] = []
    done: list[Any] = []
    runner.solve_through(
        LETTER, on_begin=begun.append, on_done=lambda step, seconds: done.append(step)
    )
    assert begun == done == [BOOK, LOOK, LETTER]
    assert all(runner.progress.done(step) for step in toy.steps)


def test_what_is_done_is_done_again_only_when_asked_for(runner: Runner) -> None:
    runner.solve_through(LETTER)
    done: list[Any] = []
    runner.solve_through(LETTER, on_begin=done.append)
    assert done == []
    runner.solve_through(LETTER, again=True, on_begin=done.append)
    assert done == [LETTER]


def test_a_skipped_step_is_done_for_later_ones_in_a_notebook_too(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = NotebookLab(runner.context.access, toy)
    notebook.runner.skip(BOOK)
    notebook.solve("put_letter", with_earlier=True)
    assert books(runner) == ["book", "letter"]
    assert "Step 1 was done for you" in capsys.readouterr().out


def test_a_notebook_solves_one_step_alone(runner: Runner) -> None:
    notebook = NotebookLab(runner.context.access, toy)
    notebook.solve("put_book")
    (toylab.shelf(runner.context) / "book").unlink()
    notebook.solve("put_letter")
    assert books(runner) == ["letter"]


def test_the_command_line_does_what_was_skipped(
    runner: Runner, lab: Callable[..., tuple[int, str]]
) -> None:
    runner.skip(BOOK)
    status, said = lab("solve", "90")
    assert status == 0
    assert "Step 90.1" in said
    assert books(runner) == ["book", "letter"]


def test_undoing_without_a_stored_state_does_skipped_steps_again(runner: Runner) -> None:
    runner.skip(BOOK)
    for step in (LOOK, LETTER):
        runner.context.baseline(step).unlink(missing_ok=True)
    runner.progress.mark(LOOK, "skipped")
    assert runner.undo(LETTER) == ["did step 90.1 again", "did step 90.2 again"]
    assert [runner.progress.state(step) for step in toy.steps] == ["solved", "solved", ""]


# -- checking -------------------------------------------------------------------------------


def missing_object(_: LabContext) -> None:
    NOTHING["metadata"]


def missing_attribute(_: LabContext) -> None:
    NOTHING.split()


def missing_field(_: LabContext) -> None:
    data: dict[str, str] = {}
    data["spec"]


def missing_entry(_: LabContext) -> None:
    entries: list[str] = []
    entries[0]


def no_json(_: LabContext) -> None:
    json.loads("<html>")


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (missing_object, "something that it reads is not there"),
        (missing_attribute, "something that it reads is not there"),
        (missing_field, "what it reads has no 'spec'"),
        (missing_entry, "a list that it reads is shorter than it should be"),
        (no_json, "JSONDecodeError: Expecting value"),
    ],
)
def test_what_a_check_does_not_foresee_is_a_sentence(
    runner: Runner, check: Callable[[LabContext], None], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BOOK, "checks", check)
    with pytest.raises(CheckUnfinished) as caught:
        runner.check(BOOK)
    assert caught.value.what.startswith(f"the check could not be finished: {says}")
    assert "./lab solve 90.1" in caught.value.hint
    assert runner.progress.state(BOOK) == ""


def test_the_line_of_the_lab_that_could_not_be_read_is_quoted(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.solve(BOOK)
    (toylab.shelf(runner.context) / "book").unlink()
    monkeypatch.setattr(toylab, "expect", lambda *_, **__: None)
    with pytest.raises(CheckUnfinished) as caught:
        runner.check(BOOK)
    assert caught.value.where.startswith("tests/fakes/toylab.py:")
    assert "book.read_text()" in caught.value.where


def test_an_unfinished_check_gets_its_cause(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = explain.Finding("seal", False, "Vault is sealed", "unseal it")
    monkeypatch.setattr(explain, "diagnose", lambda *_: [finding])
    monkeypatch.setattr(BOOK, "checks", missing_object)
    with pytest.raises(CheckUnfinished, match="cause: seal: Vault is sealed"):
        runner.check(BOOK)


def refused(_: LabContext) -> None:
    raise VaultRefused("GET", "/v1/x", 404, [], "")


@pytest.mark.parametrize("first", [missing_object, refused])
def test_a_lab_is_checked_to_its_last_step(
    first: Callable[[LabContext], None],
    runner: Runner,
    lab: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner.solve_through(LETTER)
    monkeypatch.setattr(BOOK, "checks", first)
    status, said = lab("check", "90")
    assert status == CheckFailed.exit_code
    assert "Step 90.3" in said
    assert "1 of 3 steps not passed" in said
    assert "Traceback" not in said


def test_when_the_environment_lacks_something_the_exit_code_says_so(
    runner: Runner, lab: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: LabContext) -> None:
        raise VaultUnreachable("Vault does not answer", hint="./lab up repairs it")

    for step in toy.steps:
        monkeypatch.setattr(step, "checks", fails)
    status, said = lab("check", "90")
    assert status == EnvironmentLacks.exit_code
    assert "3 of 3 steps not passed" in said


# -- beginning ------------------------------------------------------------------------------


@pytest.fixture
def prepared(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labs whose namespace was made."""
    made: list[str] = []
    monkeypatch.setattr(LabContext, "prepare", lambda self: made.append(self.namespace))
    return made


def test_after_a_reset_a_check_makes_the_namespace_and_begins(
    runner: Runner, prepared: list[str]
) -> None:
    runner.solve(BOOK)
    runner.reset()
    prepared.clear()
    with pytest.raises(CheckFailed):
        runner.check(BOOK)
    assert prepared == ["lab90"]
    assert runner.begun(BOOK)


def test_a_check_far_ahead_makes_the_namespace_and_stores_no_state(
    runner: Runner, prepared: list[str]
) -> None:
    with pytest.raises(LabError):
        runner.check(LETTER)
    assert prepared == ["lab90"]
    assert not runner.begun(LETTER)


def log(runner: Runner, path: str) -> None:
    with runner.context.access.audit_log.open("a") as stream:
        stream.write(json.dumps({"type": "response", "request": {"path": path}}) + "\n")


def seen(runner: Runner) -> list[str]:
    return [entry["request"]["path"] for entry in runner.context.audit.entries()]


def test_the_audit_log_of_a_step_counts_from_the_reset(runner: Runner) -> None:
    log(runner, "before")
    runner.reset()
    log(runner, "by hand, before the first check")
    with pytest.raises(CheckFailed):
        runner.check(BOOK)
    assert seen(runner) == ["by hand, before the first check"]


def test_the_audit_log_of_a_step_that_was_not_begun_counts_from_the_nearest(
    runner: Runner,
) -> None:
    log(runner, "before")
    runner.begin(BOOK)
    log(runner, "since")
    with pytest.raises(LabError):
        runner.check(LETTER)
    assert seen(runner) == ["since"]


def test_an_undone_attempt_does_not_count(runner: Runner) -> None:
    runner.solve(BOOK)
    log(runner, "undone")
    runner.undo(BOOK)
    log(runner, "again")
    runner.begin(BOOK)
    assert seen(runner) == ["again"]


# -- what the report is made of -------------------------------------------------------------


def test_the_time_and_the_sentences_of_a_step_are_kept(runner: Runner) -> None:
    runner.solve(BOOK)
    runner.check(LOOK)
    book, look, letter = (runner.progress.entry(step) for step in toy.steps)
    assert book["facts"] == ["there is a book on the shelf", "the book says hello"]
    assert book["began"] <= book["at"]
    assert book["seconds"] >= 0
    assert look["facts"] == ["the book is still there"]
    assert "seconds" not in look
    assert set(letter) == {"began"}, "the next step can be begun, and that is all"
    runner.undo(BOOK)
    assert set(runner.progress.entry(BOOK)) == {"began"}
