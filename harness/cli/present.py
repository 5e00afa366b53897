"""Telling a lab on a stage: one step at a time, at the speaker's pace, commands large.

Before each step it waits for a key. The speaker may go back or jump: the lab is then
brought to the state right before that step, done or undone without being shown, in
seconds. What a step fails with is shown and asked about, never the end of the talk.
Commands stand in blocks of their own, broken into lines where a person would break them,
and can be typed out visibly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from rich.control import Control
from rich.text import Text

from harness.base.errors import LabError
from harness.base.redact import redact
from harness.base.wait import pause
from harness.cli.keypress import BACK, QUIT, SKIP, Keys
from harness.cli.tour import Tour
from harness.lab.steps import Step
from harness.session.runner import Runner

MARGIN = 4
PROMPT = "Enter go   s skip   b back   1-{last} jump   q end"
_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")
_JSON = re.compile(r"""'(\{.*\})'""", re.DOTALL)


class Ended(Exception):
    """The speaker pressed q: nothing went wrong."""


@dataclass
class Presentation(Tour):
    """A tour that waits. `speed` is in characters a second; 0 shows commands at once."""

    keys: Keys = field(default_factory=Keys)
    speed: float = 0.0

    def _walk(self, runner: Runner, steps: Sequence[Step]) -> None:
        """Tell `steps` as the speaker asks for them. Raises Ended."""
        every = runner.lab.steps
        state = runner.progress.state
        position = next((s.number for s in steps if not state(s)), steps[0].number)
        last = steps[-1].number
        with self.keys:
            while position <= last:
                step = every[position - 1]
                # Before the question, so that the audience does not wait after the answer.
                # A step that was left out, or jumped over, is done here.
                self._attempt(partial(runner.reach, step, self._show_done))
                self._heading(step)
                answer = self._ask(len(every))
                if answer == QUIT:
                    raise Ended
                if isinstance(answer, int):
                    if self._may_jump(runner, step, answer):
                        position, last = answer, max(last, answer)
                elif answer == BACK:
                    position = max(1, position - 1)
                elif answer == SKIP or self._attempt(partial(self._tell, runner, step)):
                    position += 1

    def _attempt(self, action: Callable[[], object]) -> bool:
        """Whether `action` went well; when it did not, the reason is shown."""
        try:
            action()
        except LabError as error:
            self.console.print(Text(f"\n{redact(str(error))}", style="red"))
            return False
        return True

    def _may_jump(self, runner: Runner, here: Step, number: int) -> bool:
        """Whether the speaker wants to jump although that undoes work of more than one step."""
        lost = [
            step for step in here.lab.steps[number - 1 : here.number] if runner.progress.done(step)
        ]
        if len(lost) < 2:
            return True
        question = f"That undoes {lost[0].id} to {lost[-1].id}. Enter to do so, any other key: stay"
        self.keys.forget()
        self.console.print(Text(question, style="yellow"))
        return self.keys.confirm()

    def _ask(self, count: int) -> str | int:
        prompt = PROMPT.format(last=count)
        self.keys.forget()
        self.console.print(Text(prompt, style="dim"), end="")

        def echo(number: str) -> None:
            self.console.control(Control.move_to_column(len(prompt) + 2))
            self.console.print(Text(f"{number:<3}", style="bold"), end="")

        answer = self.keys.ask(count, echo)
        # The prompt is the speaker's; what stays on the screen is for the audience.
        self.console.control(Control.move_to_column(0))
        self.console.print(" " * (len(prompt) + 5), end="")
        self.console.control(Control.move_to_column(0))
        return answer

    def _show_call(self, line: str) -> None:
        shown = self._as_code(laid_out(f"$ {redact(line)}", self._width() - 2 * MARGIN))
        self.console.print()
        for text in shown.split("\n"):
            self._type(text)
        self.console.print()

    def _type(self, line: Text) -> None:
        """Print one line; with a speed, character by character."""
        self.console.print(" " * MARGIN, end="")
        if self.speed > 0:
            for character in line.divide(range(1, len(line))):
                self.console.print(character, end="", soft_wrap=True)
                pause(1 / self.speed)
            self.console.print()
        else:
            self.console.print(line, soft_wrap=True)


def laid_out(command: str, width: int) -> str:
    """The same command, with long lines broken where a person would break them.

    Before an option or an address, by a backslash; a JSON body gets a line for each
    field. It stays a command that a shell takes. Commands of several lines are left as
    they are: their author has laid them out.
    """
    if "\n" in command or len(command) <= width:
        return command
    lines: list[str] = []
    for chunk in _chunks(_WORD.findall(command), width):
        if (
            lines
            and len(lines[-1]) + len(chunk) + len("  \\") <= width
            and "\n" not in lines[-1] + chunk
        ):
            lines[-1] += f" {chunk}"
        else:
            lines.append(f"    {chunk}" if lines else chunk)
    return " \\\n".join(lines)


def _chunks(words: Sequence[str], width: int) -> list[str]:
    """Words that stay together: an option and its value; the program and its verb."""
    chunks: list[str] = []
    option = True
    for word in words:
        shown = _spread(word) if len(word) > width // 2 else word
        if option and chunks and not word.startswith("-"):
            chunks[-1] += f" {shown}"
            option = False
        else:
            chunks.append(shown)
            option = word.startswith("-") and "=" not in word
        option = option or word == "$"
    return chunks


def _spread(word: str) -> str:
    """A quoted JSON object with a line for each field; any other word as it is."""
    match = _JSON.fullmatch(word)
    try:
        fields = json.loads(match[1]) if match else {}
    except ValueError:
        return word
    if not fields:
        return word
    lines = [f"      {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items()]
    return "'{\n" + ",\n".join(lines) + "\n    }'"
