"""Watching: a change is noticed, a step that passes leads to the next, nothing spins."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from harness.base.errors import LabError
from harness.cli import watch
from harness.cli.watch import View, Watch, picture
from harness.diagnosis import explain
from harness.lab.context import LabContext
from harness.session.runner import Runner
from tests.fakes import toylab
from tests.fakes.toylab import toy


class Learner(io.StringIO):
    """Reads what is printed, and does something at once when it says a certain thing."""

    def __init__(self) -> None:
        super().__init__()
        self.reactions: dict[str, Callable[[], object]] = {}

    def write(self, text: str) -> int:
        written = super().write(text)
        for said in [said for said in self.reactions if said in self.getvalue()]:
            self.reactions.pop(said)()
        return written


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    toylab.install(monkeypatch.setattr)
    monkeypatch.setattr(watch, "CHECK_SECONDS", 0.05)
    return Runner(LabContext(toylab.access(tmp_path), toy))


def write(runner: Runner, name: str, text: str) -> None:
    (toylab.shelf(runner.context) / name).write_text(text)
    runner.context.notes["title"] = json.dumps({"title": text})


def test_it_follows_a_learner_to_the_last_step(runner: Runner) -> None:
    learner = Learner()
    learner.reactions = {
        "there is a book on the shelf": lambda: write(runner, "book", "good-bye"),
        "found: good-bye": lambda: write(runner, "book", "hello"),
        "there is a letter on the shelf": lambda: write(runner, "letter", "x"),
    }
    passed = Watch(runner, Console(file=learner, width=100)).run(toy.steps)
    assert [step.number for step in passed] == [1, 2, 3]
    assert [runner.progress.state(step) for step in toy.steps] == ["checked"] * 3
    lines = [line.strip() for line in learner.getvalue().splitlines() if line.strip()]
    assert lines == [
        "Step 90.1  Put a book on the shelf",
        "✗ not yet true: there is a book on the shelf",
        "found: []",
        "try:   write one",
        "✓ there is a book on the shelf",
        "✗ not yet true: the book says hello",
        "found: good-bye",
        "✓ the book says hello",
        "✓ step 90.1 is done",
        "Step 90.2  Look at the shelf",
        "✓ the book is still there",
        "✓ step 90.2 is done",
        "Step 90.3  Put a letter beside it",
        "✗ not yet true: there is a letter on the shelf",
        "try:   write it",
        "✓ there is a letter on the shelf",
        "✓ step 90.3 is done",
    ]


def test_a_skip_elsewhere_moves_it_on(runner: Runner) -> None:
    learner = Learner()
    learner.reactions = {
        "there is a book": lambda: runner.skip(toy.steps[0]),
        "the book is still there": lambda: runner.skip(toy.steps[1]),
        "there is a letter": lambda: runner.skip(toy.steps[2]),
    }
    assert Watch(runner, Console(file=learner, width=100)).run(toy.steps) == []


def test_one_step_is_watched_even_when_it_was_done(runner: Runner) -> None:
    write(runner, "book", "hello")
    runner.check(toy.steps[0])
    (toylab.shelf(runner.context) / "book").unlink()
    learner = Learner()
    learner.reactions = {"there is a book": lambda: write(runner, "book", "hello")}
    passed = Watch(runner, Console(file=learner, width=100)).run(toy.steps[:1])
    assert passed == toy.steps[:1]


def test_a_change_of_the_notes_or_the_audit_log_ends_the_rest_at_once(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = runner.context.access.audit_log
    asked: list[float] = []

    def touched(what: str, probe: Callable[[], bool], **options: float) -> bool:
        asked.append(options["timeout"])
        assert not probe()
        log.write_text("an entry\n")
        assert probe()
        return True

    monkeypatch.setattr(watch, "wait_for", touched)
    Watch(runner, Console(file=io.StringIO()))._rest(7)
    assert asked == [7]


def test_checks_take_no_more_than_a_fifth_of_the_time(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    clock = iter(range(100))

    def rest(_: Watch, seconds: float) -> None:
        rests.append(seconds)
        write(runner, "book", "hello")

    monkeypatch.setattr(Watch, "_rest", rest)
    monkeypatch.setattr(watch, "monotonic", lambda: float(next(clock)))
    Watch(runner, Console(file=io.StringIO())).run(toy.steps[:1])
    # The clock says that the check took a second.
    assert rests == [4.0]


def test_a_failure_is_diagnosed_once(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    diagnosed: list[str] = []

    def add_cause(error: LabError, *_: object) -> None:
        diagnosed.append(error.what)
        error.what += "\n  cause: the wall has no shelf"

    monkeypatch.setattr(explain, "add_cause", add_cause)
    looks = iter([None, None, lambda: write(runner, "book", "hello")])

    def rest(_: Watch, seconds: float) -> None:
        act = next(looks)
        if act:
            act()

    monkeypatch.setattr(Watch, "_rest", rest)
    screen = io.StringIO()
    Watch(runner, Console(file=screen, width=100)).run(toy.steps[:1])
    assert len(diagnosed) == 1
    assert screen.getvalue().count("cause: the wall has no shelf") == 1


def test_a_check_that_breaks_off_does_not_end_the_watch(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.begin(toy.steps[0])
    (toylab.shelf(runner.context) / "book").mkdir()
    learner = Learner()

    def mend() -> None:
        (toylab.shelf(runner.context) / "book").rmdir()
        write(runner, "book", "hello")

    learner.reactions = {"could not be finished: IsADirectoryError": mend}
    assert Watch(runner, Console(file=learner, width=100)).run(toy.steps[:1])


def test_a_terminal_shows_where_one_is_and_what_one_can_do(runner: Runner) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=100)
    console.print(picture(toy.steps[0], View(("a fact",), "not yet true: another")))
    for said in ("✓ a fact", "✗ not yet true: another", "./lab hint 90.1", "./lab skip 90.1"):
        assert said in screen.getvalue()


def test_on_a_terminal_the_view_is_redrawn(runner: Runner) -> None:
    learner = Learner()
    learner.reactions = {"there is a book": lambda: write(runner, "book", "hello")}
    console = Console(file=learner, force_terminal=True, width=100)
    started = time.monotonic()
    Watch(runner, console).run(toy.steps[:1])
    assert "✓ step 90.1 is done" in learner.getvalue().replace("\x1b[32m", "").replace(
        "\x1b[0m", ""
    )
    assert time.monotonic() - started < 30
