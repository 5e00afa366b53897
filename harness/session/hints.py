"""One hint more: what is not yet true and why, then the next hint of the step's author.

The command line and the notebook share this; they differ in how they print it and in the
command that solves a step. The number of hints shown is stored with the progress.
"""

from __future__ import annotations

from harness.base.errors import LabError
from harness.base.redact import redact
from harness.lab.steps import Step
from harness.session.runner import Runner


def next_hint(runner: Runner, step: Step, solve: str) -> list[str]:
    """The cause that the step's check finds now, and one hint more than last time.

    `solve` is what a person types to have the step done. Nothing is counted when the
    step holds already.
    """
    missing = what_is_missing(runner, step)
    if not missing:
        return [f"Step {step.number} holds as it is: no hint needed."]
    if not step.hints:
        return [missing, f"There is no hint for this step; {solve} does it."]
    shown = min(runner.progress.hints(step) + 1, len(step.hints))
    runner.progress.count_hint(step, shown)
    lines = [missing, f"Hint {shown} of {len(step.hints)}: {step.hints[shown - 1]}"]
    if shown == len(step.hints):
        lines.append(f"That was the last one; {solve} does the step.")
    return lines


def what_is_missing(runner: Runner, step: Step) -> str:
    """Why the check fails now, in words; "" when it passes."""
    try:
        runner.check(step)
    except LabError as error:
        return redact(str(error))
    return ""
