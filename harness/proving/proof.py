"""The pytest reading of a lab: what is shown about every step before it counts as working.

A check that cannot fail proves nothing. So the lab is walked forwards, and for each step its
check fails, `do` runs, or what it shows is pasted into a shell (harness.proving.pasted), its
check passes; then it is walked backwards, and for each step undoing
it leaves the state that was there before it, and its check fails again. A step that only looks
is run; its assertions are inside. harness.proving.plugin makes one test of each turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.base.errors import CheckFailed, LabError
from harness.lab.context import LabContext
from harness.lab.steps import Lab, Step
from harness.proving import pasted
from harness.session.runner import Runner
from harness.snapshot import take as inventory

LEFT_SHOWN = 12


class NotProven(LabError):
    """A step or its check does not behave as every step must."""


@dataclass(frozen=True)
class Turn:
    """One test of a lab: a step is done on the way forwards, or undone on the way back."""

    step: Step
    undone: bool = False

    def __str__(self) -> str:
        return f"{self.step.id}-{self.step.name}" + ("-undone" if self.undone else "")


def turns(labs: Iterable[Lab]) -> list[Turn]:
    """All turns of each lab, in order: forwards, then backwards."""
    return [
        turn
        for lab in labs
        for turn in (
            *(Turn(step) for step in lab.steps),
            *(Turn(step, undone=True) for step in reversed(lab.steps) if not step.observe),
        )
    ]


@dataclass
class Proof:
    """Proves the steps of one lab, from a clean start.

    `failed` names the first step that could not be proved: the later ones build on it.
    """

    runner: Runner
    failed: str = ""
    _reached: int = field(default=-1, init=False)
    _before: dict[str, inventory.Inventory] = field(default_factory=dict, init=False)

    def take(self, turn: Turn) -> None:
        """Prove one turn; what comes before it is done first. Raises what went wrong."""
        step = turn.step
        try:
            if turn.undone:
                self._do_up_to(step.number)
                self._undo(step)
                self._reached = step.number - 1
            else:
                self._do_up_to(step.number - 1)
                self._prove(step)
                self._reached = step.number
        except BaseException:
            self.failed = step.id
            raise

    def _do_up_to(self, number: int) -> None:
        """Begin with nothing of this lab, and do what was not done of its first `number` steps."""
        if self._reached < 0:
            self.runner.reset()
            self._reached = 0
        for step in self.runner.lab.steps[self._reached : number]:
            self._remember(step)
            self.runner.solve(step)
            self._reached = step.number

    def _remember(self, step: Step) -> None:
        self.runner.begin(step)
        self._before[step.name] = inventory.take(self.runner.context)

    def _prove(self, step: Step) -> None:
        runner = self.runner
        said: list[str] = []
        if step.observe:
            runner.solve(step, said.append)
            self._goals_are_said(step, said)
            return
        if step.checks is None:
            raise NotProven(
                f"step {step.id} has no check",
                where=step.do.__module__,
                hint=f"@{step.name}.check, or observe=True when the step only looks",
            )
        self._remember(step)
        self._must_fail(step, "although nothing was done yet")
        if pasted.is_typed(step):
            pasted.paste(runner.context, pasted.lines_of(step, runner.context))
            runner.check(step, said.append)
        else:
            runner.solve(step, said.append)
        self._goals_are_said(step, said)

    def _goals_are_said(self, step: Step, said: list[str]) -> None:
        """An exercise states the goals: the check must say each of them, word for word."""
        for goal in step.goals:
            if goal not in said:
                raise NotProven(
                    f"the check of step {step.id} never says its goal: {goal}",
                    where=step.do.__module__,
                    hint="write the goal as a sentence of expect(...), word for word",
                )

    def _undo(self, step: Step) -> None:
        runner, before = self.runner, self._before[step.name]
        runner.undo(step)
        left = inventory.difference(before, inventory.take(runner.context))
        if left:
            raise NotProven(
                f"undoing step {step.id} did not return to the state before it:\n  "
                + "\n  ".join(left[:LEFT_SHOWN]),
                where=step.do.__module__,
                hint=f"write @{step.name}.undo for what the engine cannot derive",
            )
        self._must_fail(step, "although the step was undone")

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
