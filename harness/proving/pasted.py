"""What a step shows, typed: the proof of a step that needs no Python.

The tour prints every command of a step, and people paste it into `./lab shell`. So for a step
whose lines are all typed ones the proof runs them by bash, as a person does, and not by Python:
the notebooks run the same lines from their cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.base import process
from harness.base.process import CommandFailed
from harness.lab.context import LabContext
from harness.lab.steps import Step
from harness.lab.terminal import typed
from harness.notebook.source import source_of

# What a typed step may use of `lab` besides: it changes nothing, or waits for what the check
# waits for as well.
TYPED = frozenset({"sh", "kubectl_apply"})
BESIDES = frozenset({"draw", "folder", "show", "wait_for"})
# Lab 04 waits until an operator notices that a Vault is away.
PASTE_SECONDS = 300.0


def is_typed(step: Step) -> bool:
    """Whether all that the step does is typed: no call of Python's own."""
    try:
        tools = set(source_of(step).tools)
    except TypeError:
        return False  # no body of a cell
    return not step.observe and bool(tools & TYPED) and tools <= TYPED | BESIDES


def lines_of(step: Step, context: LabContext) -> list[str]:
    """The commands that the step shows, in order; nothing is run."""
    shown: list[str] = []
    step.do(_Recorder(context, shown.append))
    return shown


def paste(context: LabContext, lines: list[str]) -> None:
    """Give the lines to a shell as `./lab shell` starts it. Raises CommandFailed."""
    environment = context.shell_environment()
    try:
        process.run(["bash"], env=environment, stdin="\n".join(lines), timeout=PASTE_SECONDS)
    except CommandFailed as error:
        raise CommandFailed(
            f"what the step shows cannot be pasted: {error.what}",
            status=error.status,
            output=error.output,
        ) from error


class _Recorder(LabContext):
    """The lab to a step that only tells what it would type."""

    def __init__(self, context: LabContext, on_call: Callable[[str], None]) -> None:
        super().__init__(context.access, context.lab, on_call, None)

    def sh(self, command: str, *, timeout: float = 0, fails: bool = False) -> str:
        """Tell the command."""
        self.say(typed(command))
        return ""

    def show(self, picture: object) -> None:
        """Show nothing."""

    def draw(self, name: str) -> None:
        """Draw nothing."""

    def wait_for(self, what: str, probe: Callable[[], Any], **options: Any) -> Any:
        """Wait for nothing."""

    def _execute(self, *_: object, **__: object) -> str:
        return ""
