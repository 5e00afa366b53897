"""Running the steps of one lab in one environment: begin, solve, check, undo, reset.

The tour, the notebook, the command line and pytest all call this module, so that a step
means the same in all four. Before a step is begun for the first time, a snapshot of the
lab is stored; `undo` returns to it, whoever made the changes since (harness.snapshot).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from harness.base.errors import LabError
from harness.base.statefile import read_json, write_json
from harness.diagnosis import explain
from harness.lab.context import LabContext
from harness.lab.steps import Step, listening
from harness.session.progress import CHECKED, SKIPPED, SOLVED, Progress
from harness.session.unfinished import unfinished
from harness.snapshot import restore as reset
from harness.snapshot import take as inventory

OnFact = Callable[[str], None]
OnStep = Callable[[Step], None]
OnDone = Callable[[Step, float], None]


def silent(*_: object) -> None:
    """The listener of a run that shows nothing."""


class Runner:
    """Runs the steps of `context.lab` in `context`'s environment."""

    def __init__(self, context: LabContext) -> None:
        self.context = context
        self.lab = context.lab
        self.progress = Progress.of(context.access.state, self.lab)

    # -- one step -----------------------------------------------------------------------

    def begin(self, step: Step) -> None:
        """Get ready for a step: the namespace exists, the state before it is stored."""
        self._prepare(step)
        if not self.begun(step):
            # The first snapshot after a reset counts from the reset: a learner who works in a
            # terminal may have done something since.
            first = not any(self.begun(other) for other in self.lab.steps)
            self._store(step, inventory.take(self.context).to_json(), since_reset=first)

    def begun(self, step: Step) -> bool:
        """Whether the state before this step is stored: the lab has got as far as here."""
        return self.context.baseline(step).exists()

    def do(self, step: Step) -> float:
        """Run the step's own calls; return the seconds they took."""
        self.begin(step)
        started = time.monotonic()
        try:
            step.do(self.context)
        except LabError as error:
            # Without a path of the step's own there is nothing to add to a refused call.
            if step.diagnoses:
                explain.add_cause(error, self.context, step)
            raise
        return time.monotonic() - started

    def solve(self, step: Step, on_fact: OnFact = silent) -> float:
        """Do the step, check it, mark it as solved; return the seconds of do."""
        facts: list[str] = []
        with listening(kept(facts, on_fact)):
            seconds = self.do(step)
            if step.checks:
                with self.context.quiet():
                    self._verify(step)
        self._passed(step, SOLVED, facts, seconds)
        return seconds

    def check(self, step: Step, on_fact: OnFact = silent, diagnose: bool = True) -> None:
        """Check the step as it stands. Raises LabError with what is not yet true, and no other.

        A step that is next is begun by this, so that a person who works in a terminal has
        the lab's namespace. With `diagnose` the failure names the broken link, too.
        """
        facts: list[str] = []
        with listening(kept(facts, on_fact)):
            self._verify(step, diagnose, ready=self._ready_to_check)
        self._passed(step, CHECKED, facts)

    def skip(self, step: Step) -> bool:
        """Mark a step that is not done as skipped; False when it is done."""
        if self.progress.done(step):
            return False
        self.begin(step)
        self._passed(step, SKIPPED)
        return True

    # -- several steps ------------------------------------------------------------------

    def next_step(self) -> Step | None:
        """The first step that is neither done nor skipped."""
        return self.progress.first_open(self.lab)

    def solve_through(
        self,
        step: Step,
        *,
        again: bool = False,
        alone: bool = False,
        on_begin: OnStep = silent,
        on_fact: OnFact = silent,
        on_done: OnDone = silent,
    ) -> None:
        """Solve each step up to and with `step` that is not done; a skipped one is not done.

        With `again` the step itself is solved even if it is done; with `alone` no other one
        is. What an unfinished attempt has left is undone first. `on_begin` and `on_done`
        are called with each step that is solved, `on_fact` with what its check finds true.
        """
        for one in [step] if alone else self.lab.steps[: step.number]:
            if self.progress.done(one) and not (again and one is step):
                continue
            on_begin(one)
            if self.begun(one):
                self.undo(one)
            on_done(one, self.solve(one, on_fact))

    def reach(self, step: Step, on_done: OnDone = silent) -> None:
        """Bring the lab to the state right before `step`, forwards or backwards.

        Earlier steps that are not done are solved quietly; `on_done` is called with each
        and its seconds. What was made since the step began is undone.
        """
        solved: list[Step] = []

        def note(one: Step, seconds: float) -> None:
            solved.append(one)
            on_done(one, seconds)

        with self.context.quiet():
            if step.number > 1:
                self.solve_through(self.lab.steps[step.number - 2], on_done=note)
            if not solved and self.begun(step):
                self.undo(step)

    def undo(self, step: Step) -> list[str]:
        """Return to the state before `step`: what it and all later steps did is undone.

        Returns sentences that say what was done. Raises LabError naming what could not
        be undone.
        """
        baselines = [s for s in self.lab.steps[: step.number] if self.begun(s)]
        if not baselines:
            return self.reset()
        self._run_undo_hooks(self.lab.steps[step.number - 1 :])
        nearest = baselines[-1]
        self.context.step = None
        stored = read_json(self.context.baseline(nearest))
        before = inventory.Inventory.from_json(stored["inventory"])
        done = reset.restore(self.context, before)
        self.context.notes.replace(stored["notes"])
        self.progress.forget(self.lab.steps[nearest.number - 1 :])
        self._forget_beyond(nearest)
        # What the audit log says of the undone attempt must not count for the next one.
        self._store(nearest, stored["inventory"])
        # Without a stored state right before this step the earlier steps are done again.
        if nearest is not step:
            with self.context.quiet():
                self.solve_through(
                    self.lab.steps[step.number - 2],
                    on_done=lambda one, _: done.append(f"did step {one.id} again"),
                )
        return done

    def reset(self) -> list[str]:
        """Remove everything of this lab from the cluster and from Vault."""
        self._run_undo_hooks(self.lab.steps)
        self.context.step = None
        done = reset.wipe(self.context)
        self.context.notes.replace({})
        self.progress.forget(self.lab.steps)
        for step in self.lab.steps:
            self.context.baseline(step).unlink(missing_ok=True)
        write_json(self.context.last_reset, {"audit": self.context.audit.mark()})
        return done

    # -- inside -------------------------------------------------------------------------

    def _prepare(self, step: Step) -> None:
        """The lab's namespace is there, and it bears no step's label."""
        self.context.step = None
        self.context.prepare()
        self.context.step = step

    def _ready_to_check(self, step: Step) -> None:
        self.context.step = step
        if step.observe or (not self.begun(step) and step is self.next_step()):
            self.begin(step)
        elif not self.begun(step):
            # Far ahead: its state before is none to return to, but a person can work on it.
            self._prepare(step)

    def _run_undo_hooks(self, steps: list[Step]) -> None:
        for step in reversed(steps):
            if step.undoes:
                self.context.step = step
                try:
                    step.undoes(self.context)
                except LabError as error:
                    # The restore does what it can; what it cannot do is reported there.
                    self.context.say(f"# undo of step {step.id}: {error.what}")

    def _verify(self, step: Step, diagnose: bool = True, ready: OnStep = silent) -> None:
        """Run the check after `ready`; every failure of the two becomes a LabError."""
        try:
            ready(step)
            step.verify(self.context)
        except Exception as error:
            failure = error if isinstance(error, LabError) else unfinished(step, error)
            if diagnose:
                explain.add_cause(failure, self.context, step)
            if failure is error:
                raise
            raise failure from error

    def _passed(
        self,
        step: Step,
        state: str,
        facts: Sequence[str] = (),
        seconds: float | None = None,
    ) -> None:
        """Mark a step, and store the state that the next one starts from."""
        if not self.progress.done(step):
            self.progress.mark(step, state, seconds)
        if facts:
            self.progress.keep_facts(step, facts)
        following = self.lab.steps[step.number : step.number + 1]
        for later in following:
            if not self.begun(later):
                self._store(later, inventory.take(self.context).to_json())

    def _store(self, step: Step, state: Any, since_reset: bool = False) -> None:
        """Store the state before a step: inventory, notes, the end of the audit log."""
        audit = self.context.audit.mark()
        if since_reset:
            audit = int(read_json(self.context.last_reset).get("audit", audit))
        kept = {"inventory": state, "notes": dict(self.context.notes), "audit": audit}
        write_json(self.context.baseline(step), kept)
        self.progress.begin(step)

    def _forget_beyond(self, step: Step) -> None:
        for later in self.lab.steps[step.number :]:
            self.context.baseline(later).unlink(missing_ok=True)


def kept(facts: list[str], on_fact: OnFact) -> OnFact:
    """A listener that also keeps each fact in the list."""

    def note(fact: str) -> None:
        facts.append(fact)
        on_fact(fact)

    return note
