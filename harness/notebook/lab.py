"""What a notebook holds as `lab`: a lab's context, with check, hint, solve and reset.

The cells of a notebook are the bodies of the steps, so `lab` is what a step gets
(harness.lab.context), for the environment that LAB_ENV names. Progress, hints shown and the
states to return to are those of the command line too (harness.session.runner). What the kernel
is changed for, redaction above all, is in harness.notebook.kernel; notebooks are made by
harness.notebook.render.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import IPython.display

from harness.base.errors import EnvironmentLacks, LabError
from harness.base.redact import redact
from harness.environment.environment import DEFAULT, Environment
from harness.lab.access import Access
from harness.lab.catalog import find_lab
from harness.lab.context import LabContext
from harness.lab.steps import Lab, Step, listen
from harness.notebook import kernel
from harness.notebook.panel import Panel
from harness.notebook.source import source_of
from harness.session.hints import next_hint
from harness.session.progress import CHECKED, SKIPPED
from harness.session.runner import Runner, kept
from harness.supply import surroundings

ENVIRONMENT_VARIABLE = "LAB_ENV"


class NotebookLab(LabContext):
    """A lab's context with what a person in a notebook needs besides."""

    def __init__(self, access: Access, lab: Lab) -> None:
        super().__init__(access, lab)
        self.runner = Runner(self)
        self._running: Step | None = None
        self._facts: list[str] = []
        self._panel: Any = None

    # -- for the person -----------------------------------------------------------------

    def check(self, name: str | int) -> None:
        """Print what holds of this step; raise CheckFailed with what does not hold yet."""
        step = self.lab.find(name)
        try:
            self.runner.check(step, _holds)
        except LabError as error:
            error.add_note(
                f'  stuck? lab.hint("{step.name}") gives a hint, '
                f'lab.solve("{step.name}") does the step for you'
            )
            raise
        following = self.lab.steps[step.number : step.number + 1]
        print(f"Step {step.number} is done.", *(f"Next: {s.title}." for s in following))
        self._refresh(below=True)

    def hint(self, name: str | int) -> None:
        """Print what is not yet true of this step, then one hint more than last time."""
        step = self.lab.find(name)
        for line in next_hint(self.runner, step, f'lab.solve("{step.name}")'):
            print(line)

    def solve(self, name: str | int, *, with_earlier: bool = False) -> None:
        """Show the code of this step and run it; with `with_earlier`, all up to it."""
        self.runner.solve_through(
            self.lab.find(name),
            again=True,
            alone=not with_earlier,
            on_begin=_show_code,
            on_fact=_holds,
            on_done=_done_for_you,
        )
        self._refresh(below=True)

    def reset(self, name: str | int | None = None) -> None:
        """Return to the state before this step; without a name, remove all of the lab."""
        done = self.runner.reset() if name is None else self.runner.undo(self.lab.find(name))
        for line in done:
            print(redact(line))
        if not done:
            print("There was nothing to remove.")
        self._refresh(below=True)

    def show(self, picture: object) -> None:
        """Show a PNG or a table below the cell."""
        display: Any = IPython.display.display
        image: Any = IPython.display.Image
        display(image(filename=str(picture)) if isinstance(picture, Path) else picture)

    @property
    def show_calls(self) -> bool:
        """Whether each call is printed as a person would type it."""
        return self.on_call is not None

    @show_calls.setter
    def show_calls(self, on: bool) -> None:
        self.on_call = print if on else None

    # -- for the kernel -----------------------------------------------------------------

    def begin_step(self, identifier: str) -> None:
        """A cell of step "01.3" is about to run: make ready, and show what it finds true."""
        number, _, step = identifier.partition(".")
        if number != self.lab.number:
            return
        self._running = self.lab.find(step)
        if self.runner.progress.done(self._running) and not self._running.observe:
            print(
                f"Step {step} was done before. If this cell now collides with what it left: "
                f'lab.reset("{self._running.name}"), then run it again.'
            )
        self.runner.begin(self._running)
        self._facts = []
        listen(kept(self._facts, _holds))

    def end_cell(self, well: bool) -> None:
        """A cell has run: a step that looks and has no check is done when its cell ended well."""
        step, self._running = self._running, None
        if step and step.observe and not step.checks and well:
            self.runner.progress.mark(step, CHECKED)
            self.runner.progress.keep_facts(step, self._facts)
            self._refresh()

    def show_progress(self) -> None:
        """Show the steps below this cell; from now on they change as steps are done."""
        display: Any = IPython.display.display
        self._panel = display(Panel(self.lab, self.runner.progress), display_id=True)

    def _refresh(self, below: bool = False) -> None:
        """Bring the steps at the top up to date; with `below` show them under this cell, too."""
        # None in a program without a kernel, and before the lab is open.
        if self._panel is None:
            return
        display: Any = IPython.display.display
        panel = Panel(self.lab, self.runner.progress)
        self._panel.update(panel)
        if below:
            display(panel)


def open_lab(number: str) -> NotebookLab:
    """The lab with this number in the environment that LAB_ENV names (default `lab`).

    Prepares the kernel, the lab's namespace and the first step that is not done. Raises
    UsageError for an unknown lab, EnvironmentLacks when the environment does not run or
    has not got what the lab needs.
    """
    # First of all, so that what fails below is already shown in the short form.
    kernel.install()
    surroundings.settle()
    lab = find_lab(number)
    environment = Environment(os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT)
    opened = NotebookLab(environment.running(), lab)
    record = environment.record
    missing = sorted(set(lab.needs) - set(record.needs if record else ()))
    if missing:
        raise EnvironmentLacks(
            f"this lab needs {' and '.join(missing)}",
            where=f"environment {environment.name}",
            hint=f"./lab up {lab.number} --env {environment.name}",
        )
    kernel.follow(opened.begin_step, opened.end_cell)
    step = opened.runner.next_step()
    if step:
        opened.runner.begin(step)
    progress = opened.runner.progress
    done = sum(progress.done(one) for one in lab.steps)
    skipped = sum(progress.state(one) == SKIPPED for one in lab.steps)
    print(
        f"Lab {lab.number}, {lab.title}: {done} of {len(lab.steps)} steps done"
        + (f", {skipped} skipped" if skipped else "")
        + f" in environment {environment.name}."
        + (f" Next: step {step.number}." if step else "")
    )
    opened.show_progress()
    return opened


def _show_code(step: Step) -> None:
    print(f"# Step {step.id}: {step.title}\n{source_of(step).code}\n")


def _done_for_you(step: Step, seconds: float) -> None:
    print(f"Step {step.number} was done for you in {seconds:.1f}s.")


def _holds(fact: str) -> None:
    print(f"✓ {redact(fact)}")
