"""The tour: a lab in a terminal, each step explained, shown, run, checked, timed.

What is shown before it runs is what a person would type (curl, kubectl, vault), as the
lab's context reports it: whole and at the left margin, so that it can be pasted into
`./lab shell`. What a command printed is moved to the right. The tour goes on where the last
one stopped; a step that was interrupted half-way is undone first. harness.cli.present is the
same for a speaker on a stage.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.markdown import Markdown
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from harness.base.errors import LabError
from harness.base.redact import redact
from harness.cli.selection import FIRST_SHOWN
from harness.lab.access import Access
from harness.lab.context import LabContext
from harness.lab.steps import Lab, Step
from harness.session.progress import SKIPPED
from harness.session.runner import Runner

WIDEST = 100
# What follows the lab that `lab run` tells without a name.
WAYS_ON = (
    "Each way has a lab of its own: ./lab run 01 (HTTP API), 02 (CSI), 03 (injector), "
    "04 (operator), 00 (what a Secret is), 06 (encryption at rest); ./lab run all tells them all."
)


@dataclass
class Timing:
    """Seconds a step took, for the table at the end."""

    step: Step
    seconds: float


@dataclass
class Tour:
    """Tells labs on `console`; with `full`, steps that measure take their time.

    With `scale`, steps that make many of a kind make really many. Without `further`, steps that
    may be left out are left out.
    """

    console: Console
    access: Access | None = None
    full: bool = False
    scale: bool = False
    further: bool = True
    timings: list[Timing] = field(default_factory=list)

    def run(self, lab: Lab, first: int = 1, last: int | None = None, fresh: bool = False) -> None:
        """Tell the steps `first` to `last` of one lab. Raises what a step raises."""
        assert self.access is not None
        context = LabContext(self.access, lab, self._show_call, self._show_output)
        context.full, context.scale = self.full, self.scale
        runner = Runner(context)
        steps = lab.steps[first - 1 : last]
        self._opening(lab)
        if fresh:
            self._undo_from(runner, steps[0])
        elif all(runner.progress.state(step) for step in steps):
            self._nothing_to_tell(runner, steps)
            return
        self._walk(runner, steps)
        if steps[-1] is lab.steps[-1]:
            self._closing(lab)

    def _undo_from(self, runner: Runner, step: Step) -> None:
        """Undo `step` and all later ones, and say so: that is what --fresh asks for."""
        done = [other for other in step.lab.steps[step.number - 1 :] if runner.begun(other)]
        if done:
            what = done[0].id if len(done) == 1 else f"{done[0].id} to {done[-1].id}"
            self.console.print(Text(f"Starting over: {what} is undone.", style="dim"))
        with runner.context.quiet():
            runner.undo(step)

    def _nothing_to_tell(self, runner: Runner, steps: Sequence[Step]) -> None:
        """All is done already. To show it again means to undo it first: only --fresh does that."""
        for step in steps:
            self._pass_by(runner, step)
        lab = steps[0].lab
        begin = f" --from {steps[0].number}" if steps[0] is not lab.steps[0] else ""
        end = f" --to {steps[-1].number}" if steps[-1] is not lab.steps[-1] else ""
        self.console.print(
            Text(
                f"Nothing is left to do here. ./lab run {lab.number}{begin}{end} --fresh undoes "
                f"{steps[0].id} and all later steps, and starts over."
            )
        )

    # -- one step -----------------------------------------------------------------------

    def _walk(self, runner: Runner, steps: Sequence[Step]) -> None:
        """Tell these steps in order, but for those that are done or skipped."""
        for step in steps:
            if self._pass_by(runner, step) or self._left_out(step):
                continue
            # What an interrupted attempt left would make the real calls fail.
            runner.reach(step, self._show_done)
            self._heading(step)
            self._tell(runner, step)

    def _pass_by(self, runner: Runner, step: Step) -> bool:
        """Whether the step was done or skipped before; says so."""
        state = runner.progress.state(step)
        if state:
            note = "skipped" if state == SKIPPED else "done before"
            self.console.print(Text(f"✓ {step.id} {step.title} ({note})", style="dim"))
        return bool(state)

    def _left_out(self, step: Step) -> bool:
        """Whether the step is one of those that this tour leaves out; says so."""
        if self.further or not step.further:
            return False
        line = f"  {step.id} {step.title} (further: ./lab run {step.id} tells it)"
        self.console.print(Text(line, style="dim"))
        return True

    def _tell(self, runner: Runner, step: Step) -> None:
        started = time.monotonic()
        try:
            runner.solve(step, self._show_fact)
        except LabError as error:
            error.where = error.where or f"step {step.id}, {step.title}"
            raise
        seconds = time.monotonic() - started
        if step.answer:
            answer = Markdown(f"*The answer to the question above:* {step.answer}")
            self.console.print(Padding(answer, (0, 2)), width=self._width())
        self.timings.append(Timing(step, seconds))
        self.console.print(Text(f"  {seconds:.1f}s", style="dim"))

    def _show_done(self, step: Step, seconds: float) -> None:
        """A step that was done without being shown, because a later one needs it."""
        self.console.print(
            Text(f"✓ {step.id} {step.title} (done quietly, {seconds:.1f}s)", style="dim")
        )

    # -- what is printed ----------------------------------------------------------------

    def _opening(self, lab: Lab) -> None:
        title = f"Lab {lab.number}: {lab.title}"
        body = f"{lab.goal}\n\n{len(lab.steps)} steps, about {lab.minutes} minutes by hand."
        self.console.print()
        self.console.print(Panel(Markdown(body), title=title, width=self._width()))

    def _heading(self, step: Step) -> None:
        self.console.print()
        title = f"Step {step.id}  {step.title}" + ("  (further)" if step.further else "")
        self.console.print(Rule(Text(title, style="bold"), align="left", characters="─"))
        if step.why:
            self.console.print(Padding(Markdown(step.why), (0, 2, 1, 2)), width=self._width())

    def _show_call(self, line: str) -> None:
        # A terminal breaks what is too long for it; a line break put in would be pasted, too.
        self.console.print(self._as_code(redact(line)), soft_wrap=True)

    def _as_code(self, command: str) -> Text:
        if not self.console.is_terminal:
            return Text(command)
        code = Syntax("", "bash", background_color="default", theme="ansi_dark")
        return code.highlight(command.rstrip("\n"))

    def _show_output(self, text: str) -> None:
        for line in text.splitlines():
            self.console.print(Text(f"  {line}", style="dim"), soft_wrap=True)

    def _show_fact(self, fact: str) -> None:
        self.console.print(Text("  ✓ ", style="green") + Text(redact(fact)))

    def _closing(self, lab: Lab) -> None:
        if lab.remember:
            self.console.print()
            body = "\n".join(f"- {line}" for line in lab.remember)
            self.console.print(Panel(Markdown(body), title="To remember", width=self._width()))

    def summary(self) -> None:
        """Print what was done, how long it took and what one could do next."""
        total = sum(timing.seconds for timing in self.timings)
        self.console.print()
        self.console.print(
            Text(
                f"{_steps(len(self.timings))} in {total:.0f}s, every one checked. ",
                style="bold green",
            )
            + Text("Next: ./lab learn (the same as notebooks), ./lab shell, ./lab status")
        )
        told = {timing.step.lab.number for timing in self.timings}
        if told == {FIRST_SHOWN}:
            self.console.print(Text(WAYS_ON))

    def _width(self) -> int:
        return min(WIDEST, self.console.width or shutil.get_terminal_size().columns)


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
