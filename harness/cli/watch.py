"""`lab watch`: checks the current step again and again while a person works beside it.

It looks again as soon as Vault's audit log or the lab's notes change, and otherwise about
every second, because files in a pod and objects in the cluster change without a trace on
this machine. A check costs requests of its own, so it never takes more than a fifth of
the time. Why a check fails is diagnosed once for each new failure, not each time. On a
terminal the view is redrawn in place; elsewhere only changes are printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from harness.base.errors import GaveUp, LabError
from harness.base.redact import redact
from harness.base.wait import wait_for
from harness.diagnosis import explain
from harness.lab.steps import Step
from harness.session.runner import Runner

LOOK_SECONDS = 0.2
CHECK_SECONDS = 1.0
# A check of a second is repeated every four seconds, not back to back.
REST = 4


@dataclass(frozen=True)
class View:
    """What one check showed: the facts that hold, and what is not yet true ("" if all is)."""

    facts: tuple[str, ...] = ()
    missing: str = ""


@dataclass
class Watch:
    """Watches steps of one lab on `console`."""

    runner: Runner
    console: Console
    _live: Live | None = None
    _cause: tuple[str, str] = ("", "")

    def run(self, steps: Sequence[Step]) -> list[Step]:
        """Watch until none of `steps` is left; return those that passed meanwhile.

        The current step is the first that is neither done nor skipped, looked up again
        each time: another terminal may reset, skip or solve. A step that is watched
        alone is watched until its check passes, done or not.
        """
        passed: list[Step] = []
        current, shown = None, View()
        with self._drawing() as self._live:
            while step := self._current(steps, passed):
                if step is not current:
                    current, shown = step, View()
                    self._begin(step)
                started = monotonic()
                view = self._look(step)
                self._show(step, view, shown)
                shown = view
                if not view.missing:
                    passed.append(step)
                    self._print(Text("✓ ", style="green") + Text(f"step {step.id} is done"))
                    continue
                self._rest(max(CHECK_SECONDS, REST * (monotonic() - started)))
        return passed

    def _current(self, steps: Sequence[Step], passed: list[Step]) -> Step | None:
        if len(steps) == 1:
            return None if passed else steps[0]
        state = self.runner.progress.state
        return next((step for step in steps if not state(step)), None)

    def _begin(self, step: Step) -> None:
        if not self.runner.begun(step):
            self.runner.begin(step)
        self._print(Text(f"\nStep {step.id}  {step.title}", style="bold"))

    def _look(self, step: Step) -> View:
        """Check once; a failure that is new is diagnosed, too."""
        facts: list[str] = []
        missing = ""
        try:
            self.runner.check(step, facts.append, diagnose=False)
        except LabError as error:
            known = str(error)
            if known != self._cause[0]:
                explain.add_cause(error, self.runner.context, step)
                self._cause = (known, str(error))
            missing = self._cause[1]
        return View(tuple(redact(fact) for fact in facts), redact(missing))

    def _rest(self, seconds: float) -> None:
        """Return when the audit log or the notes change, or after `seconds`."""
        context = self.runner.context
        notes = context.folder / "notes.json"

        def marker() -> tuple[int, float]:
            written = notes.stat().st_mtime if notes.exists() else 0.0
            return context.audit.mark(), written

        # Taken now: what the check itself asked Vault must not count as a change.
        before = marker()
        with suppress(GaveUp):
            wait_for("a change", lambda: marker() != before, timeout=seconds, every=LOOK_SECONDS)

    # -- showing ------------------------------------------------------------------------

    def _drawing(self) -> AbstractContextManager[Live | None]:
        if not self.console.is_terminal:
            return nullcontext()
        # What ends up above the redrawn part is printed by us alone.
        return Live(console=self.console, auto_refresh=False, transient=True)

    def _print(self, line: Text) -> None:
        self.console.print(line, soft_wrap=True)

    def _show(self, step: Step, view: View, before: View) -> None:
        if self._live:
            self._live.update(picture(step, view), refresh=True)
            return
        for fact in view.facts:
            if fact not in before.facts:
                self._print(Text(f"  ✓ {fact}", style="green"))
        if view.missing and view.missing != before.missing:
            self._print(Text(f"  ✗ {view.missing}", style="red"))


def picture(step: Step, view: View) -> Group:
    """What a terminal shows of a step: facts, what is missing, what one could type."""
    lines: list[RenderableType] = [Text(f"  ✓ {fact}", style="green") for fact in view.facts]
    if view.missing:
        lines += [
            Text(f"  ✗ {view.missing}", style="red"),
            Text(
                f"\n  watching; ./lab hint {step.id} helps, ./lab skip {step.id} goes on, "
                "Ctrl-C ends",
                style="dim",
            ),
        ]
    return Group(*lines)
