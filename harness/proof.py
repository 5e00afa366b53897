"""The pytest reading of a lab: what is shown about every step before it counts as working.

A check that cannot fail proves nothing. So for each step: its check fails, `do` runs, its
check passes, the step is undone and leaves nothing behind, its check fails again, and
then the step is done once more for the ones that follow. A step that only looks is run;
its assertions are inside. harness.plugin turns each proof into one test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness import inventory
from harness.context import LabContext
from harness.errors import CheckFailed, LabError
from harness.runner import Runner
from harness.steps import Step

LEFT_SHOWN = 12


class NotProven(LabError):
    """A step or its check does not behave as every step must."""


@dataclass
class Proof:
    """Proves the steps of one lab in order, from a clean start.

    `failed` names the first step that could not be proved: the later ones build on it.
    """

    runner: Runner
    failed: str = ""
    _reached: int = field(default=-1, init=False)

    def prove(self, step: Step) -> None:
        """Prove one step; those before it are done first. Raises what went wrong."""
        try:
            self._reach(step)
            self._prove(step)
        except BaseException:
            self.failed = step.id
            raise
        self._reached = step.number

    def _reach(self, step: Step) -> None:
        """Begin with nothing of this lab, and do whatever comes before `step`."""
        if self._reached < 0:
            self.runner.reset()
            self._reached = 0
        for earlier in self.runner.lab.steps[self._reached : step.number - 1]:
            self.runner.solve(earlier)
            self._reached = earlier.number

    def _prove(self, step: Step) -> None:
        runner = self.runner
        if step.observe:
            runner.check(step)
            return
        if step.checks is None:
            raise NotProven(
                f"step {step.id} has no check",
                where=step.do.__module__,
                hint=f"@{step.name}.check, or observe=True when the step only looks",
            )
        runner.begin(step)
        self._must_fail(step, "although nothing was done yet")
        before, settings = inventory.take(runner.context), runner.control_plane()
        runner.do(step)
        runner.check(step)
        runner.undo(step)
        left = inventory.difference(before, inventory.take(runner.context))
        if runner.control_plane() != settings:
            left.append("the API server's settings are others")
        if left:
            raise NotProven(
                f"undoing step {step.id} did not return to the state before it:\n  "
                + "\n  ".join(left[:LEFT_SHOWN]),
                where=step.do.__module__,
                hint=f"write @{step.name}.undo for what the engine cannot derive",
            )
        self._must_fail(step, "although the step was undone")
        runner.solve(step)

    def _must_fail(self, step: Step, although: str) -> None:
        # As a person's check does: the audit log counts from where this step began.
        self.runner.context.step = step
        try:
            step.verify(self.runner.context)
        except CheckFailed:
            return
        except LabError as error:
            raise NotProven(
                f"the check of step {step.id} stumbles instead of saying what is missing: "
                f"{error.what}",
                where=step.do.__module__,
                hint="allow={404} for an object that may be absent, then expect(...)",
            ) from error
        raise NotProven(
            f"the check of step {step.id} passes {although}",
            where=step.do.__module__,
            hint="look at what the step changes, not at what was there before",
        )


class Proofs:
    """The proofs of a test run, one a lab."""

    def __init__(self, context: Callable[[str], LabContext]) -> None:
        self._context = context
        self._by_lab: dict[str, Proof] = {}

    def of(self, step: Step) -> Proof:
        """The proof of the lab that `step` belongs to."""
        number = step.lab.number
        if number not in self._by_lab:
            self._by_lab[number] = Proof(Runner(self._context(number)))
        return self._by_lab[number]
