"""A speaker's tour on a pseudo-terminal: keys, jumps, failures, and commands that fit."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from harness.base.errors import LabError, UsageError
from harness.cli import present
from harness.cli.keypress import BACK, GO, QUIT, SKIP, Keys, need_terminal
from harness.cli.present import Ended, Presentation, laid_out
from harness.cli.tour import Tour
from harness.lab.context import LabContext
from harness.session.progress import DONE
from harness.session.runner import Runner
from tests.fakes import toylab
from tests.fakes.toylab import toy

# The question before each step, and the one before several steps are undone.
PROMPTS = (b"q end", b"key: stay")


class Terminal:
    """A pseudo-terminal with somebody who presses the next key at each prompt."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._master, self._slave = pty.openpty()
        self.stream = os.fdopen(self._slave, "r+b", buffering=0)
        self.text_in = open(os.dup(self._slave), encoding="utf-8")  # noqa: SIM115,PTH123 # a descriptor, closed below
        self.text_out = open(os.dup(self._slave), "w", encoding="utf-8")  # noqa: SIM115,PTH123 # as above
        self.output = b""
        self._keys = [key.encode() for key in keys]
        self._thread = threading.Thread(target=self._press, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up; `output` is complete afterwards."""
        for stream in (self.text_out, self.text_in, self.stream):
            stream.close()
        self._thread.join()
        os.close(self._master)

    @property
    def mode(self) -> list[object]:
        """Whether the terminal waits for whole lines and echoes them."""
        flags = termios.tcgetattr(self._slave)[3]
        return [bool(flags & termios.ICANON), bool(flags & termios.ECHO)]

    def _press(self) -> None:
        answered = 0
        while True:
            try:
                self.output += os.read(self._master, 4096)
            except OSError:  # nobody holds the other end any more
                return
            while sum(map(self.output.count, PROMPTS)) > answered:
                answered += 1
                os.write(self._master, self._keys.pop(0) if self._keys else b"q")


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def make(*keys: str) -> Terminal:
        made.append(Terminal(keys))
        return made[-1]

    yield make
    for one in made:
        if not one.stream.closed:
            one.close()


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    toylab.install(monkeypatch.setattr)
    return Runner(LabContext(toylab.access(tmp_path), toy))


def present_toy(runner: Runner, screen: Terminal, speed: float = 0, first: int = 1) -> Presentation:
    console = Console(file=screen.text_out, force_terminal=True, width=80, color_system=None)
    tour = Presentation(console, runner.context.access, keys=Keys(screen.text_in), speed=speed)
    tour.run(toy, first)
    return tour


def states(runner: Runner) -> list[str]:
    return [runner.progress.state(step) for step in toy.steps]


def test_enter_goes_through_all_steps(runner: Runner, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("\n", "\n", "\n")
    before = screen.mode
    tour = present_toy(runner, screen)
    assert screen.mode == before == [True, True]
    screen.close()
    assert [timing.step.number for timing in tour.timings] == [1, 2, 3]
    assert states(runner) == ["solved"] * 3
    shown = screen.output.decode()
    for said in ("Step 90.1", "✓ the book says hello", "Step 90.3", "To remember"):
        assert said in shown


def test_q_ends_it_and_puts_the_terminal_back(
    runner: Runner, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("\n", "q")
    with pytest.raises(Ended):
        present_toy(runner, screen)
    assert screen.mode == [True, True]
    assert states(runner) == ["solved", "", ""]


def test_a_jump_does_the_steps_between_without_showing_them(
    runner: Runner, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("3", "\n")
    tour = present_toy(runner, screen)
    screen.close()
    shown = screen.output.decode()
    assert [timing.step.number for timing in tour.timings] == [3]
    assert states(runner) == ["solved"] * 3
    assert "✓ 90.1 Put a book on the shelf (done quietly" in shown
    assert "✓ the book says hello" not in shown


def test_skip_leaves_a_step_out_of_the_show_but_not_out_of_the_lab(
    runner: Runner, terminal: Callable[..., Terminal]
) -> None:
    tour = present_toy(runner, terminal("s", "\n", "\n"))
    assert [timing.step.number for timing in tour.timings] == [2, 3]
    assert set(states(runner)) <= DONE


def test_back_undoes_the_step_so_that_it_can_be_shown_again(
    runner: Runner, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("\n", "b", "q")
    with pytest.raises(Ended):
        present_toy(runner, screen)
    assert states(runner) == ["", "", ""]
    assert list(toylab.shelf(runner.context).iterdir()) == []


def test_it_begins_in_the_middle_with_what_comes_before_done(
    runner: Runner, terminal: Callable[..., Terminal]
) -> None:
    tour = present_toy(runner, terminal("\n"), first=3)
    assert [timing.step.number for timing in tour.timings] == [3]
    assert states(runner) == ["solved"] * 3


def test_a_failed_step_is_shown_and_may_be_tried_again(
    runner: Runner, terminal: Callable[..., Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    does, failures = toy.steps[0].do, [LabError("the shelf broke", hint="mend it")]

    def fails_once(lab: LabContext) -> None:
        if failures:
            raise failures.pop()
        does(lab)

    monkeypatch.setattr(toy.steps[0], "do", fails_once)
    screen = terminal("\n", "\n", "q")
    with pytest.raises(Ended):
        present_toy(runner, screen)
    screen.close()
    assert "the shelf broke" in screen.output.decode()
    assert "mend it" in screen.output.decode()
    assert states(runner) == ["solved", "", ""]


def test_typing_takes_the_time_that_was_asked_for(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(present, "pause", paused.append)
    with (Path(os.devnull)).open("w") as nowhere:
        console = Console(file=nowhere, force_terminal=True, width=80)
        tour = Presentation(console, speed=50)
        tour._show_call("vault status")
        assert paused == [0.02] * len("$ vault status")
        Presentation(console, speed=0)._type(Text("vault status"))
    assert len(paused) == len("$ vault status")


# -- keys -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "highest", "means"),
    [
        ("\n", 5, GO),
        (" ", 5, GO),
        ("\x1b[6~", 5, GO),
        ("\x1b[5~", 5, BACK),
        ("\x1b[D", 5, BACK),
        ("b", 5, BACK),
        ("S", 5, SKIP),
        ("q", 5, QUIT),
        ("\x04", 5, QUIT),
        ("3", 5, 3),
        ("zx3", 5, 3),
        ("09\n34", 5, 3),
        ("12", 13, 12),
        ("1\n", 13, 1),
        ("1\x7f7", 13, 7),
        ("1\x7f\n", 13, GO),
    ],
)
def test_what_keys_mean(
    terminal: Callable[..., Terminal], typed: str, highest: int, means: str | int
) -> None:
    screen = terminal(typed)
    with Keys(screen.text_in) as keys:
        screen.text_out.write("1-5 jump   q end")
        screen.text_out.flush()
        assert keys.ask(highest, lambda _: None) == means


def test_what_was_typed_ahead_is_forgotten(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("b")
    with Keys(screen.text_in) as keys:
        os.write(screen._master, b"\n\n")
        select.select([screen.text_in], [], [], 5)
        keys.forget()
        screen.text_out.write("q end")
        screen.text_out.flush()
        assert keys.ask(5, lambda _: None) == BACK


def test_presenting_without_a_terminal_is_refused(terminal: Callable[..., Terminal]) -> None:
    need_terminal(terminal().text_in)
    with Path(os.devnull).open() as nowhere, pytest.raises(UsageError, match="needs a terminal"):
        need_terminal(terminal().text_in, nowhere)


# -- commands on a slide ----------------------------------------------------------------

CURL = (
    'curl -s --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" -X POST '
    '"$VAULT_ADDR/v1/auth/lab01-kubernetes/role/app" '
    """-d '{"bound_service_account_names": ["app"], "policy": "path \\"a b\\" {}", "ttl": "10m"}'"""
)
QUOTED = "vault kv put -mount=lab01-kv app " + " ".join(f"key{n}='a b  {n}'" for n in range(12))


def words(command: str) -> list[str]:
    """The words that a shell makes of the command's arguments."""
    _, _, arguments = command.partition(" ")
    shell = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {arguments}"], capture_output=True, text=True, check=True
    )
    return ["".join(word.split()) for word in shell.stdout.split("\0")]


@pytest.mark.parametrize("command", [CURL, QUOTED])
@pytest.mark.parametrize("width", [50, 72])
def test_a_command_in_lines_is_the_same_command(command: str, width: int) -> None:
    shown = laid_out(command, width)
    assert shown.count("\n") >= 2
    assert words(shown) == words(command)


def test_a_body_has_a_line_for_each_field_and_options_keep_their_value() -> None:
    lines = laid_out(CURL, 72).splitlines()
    assert '      "bound_service_account_names": ["app"],' in lines
    assert any("-X POST" in line for line in lines)
    assert max(map(len, lines)) <= 72


def test_what_is_short_or_laid_out_already_stays() -> None:
    assert laid_out("vault status", 72) == "vault status"
    script = "kubectl exec app -- sh -c '\n" + "x" * 100 + "\n'"
    assert laid_out(script, 72) == script


def test_a_number_above_the_last_step_is_no_jump_and_no_go(
    runner: Runner, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("\n", "7\nq")
    with pytest.raises(Ended):
        present_toy(runner, screen)
    screen.close()
    assert states(runner) == ["solved", "", ""]
    assert "7?" in screen.output.decode()


@pytest.mark.parametrize(("answer", "kept"), [("n", True), ("\n", False)])
def test_a_jump_that_undoes_several_steps_asks_first(
    runner: Runner, terminal: Callable[..., Terminal], answer: str, kept: bool
) -> None:
    screen = terminal("\n", "\n", "1", answer, "q")
    with pytest.raises(Ended):
        present_toy(runner, screen)
    screen.close()
    assert "That undoes 90.1 to 90.2" in screen.output.decode()
    assert states(runner) == (["solved", "solved", ""] if kept else ["", "", ""])


def test_a_finished_lab_is_told_again_only_when_asked(runner: Runner, tmp_path: Path) -> None:
    for step in toy.steps:
        runner.solve(step)
    out = Console(file=io.StringIO(), width=120)
    for first, last, command in ((1, None, "run 90 --fresh"), (2, 2, "--from 2 --to 2 --fresh")):
        tour = Tour(out, runner.context.access)
        tour.run(toy, first, last)
        assert tour.timings == []
        assert states(runner) == ["solved"] * 3
        assert command in out.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    tour = Tour(out, runner.context.access)
    tour.run(toy, 2, 2, fresh=True)
    assert [timing.step.number for timing in tour.timings] == [2]
    assert "Starting over: 90.2 to 90.3 is undone" in out.file.getvalue()  # type: ignore[attr-defined]  # as above
