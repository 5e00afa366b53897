"""One hint more: what is not yet true and why, then the next thing the author would say.

The command line and the notebook share this; they differ in how they print it and in how
one asks for the solution. How many hints were shown is remembered with the progress.
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
    told = [missing, f"Hint {shown} of {len(step.hints)}: {step.hints[shown - 1]}"]
    if shown == len(step.hints):
        told.append(f"That was the last one; {solve} does the step.")
    return told


def what_is_missing(runner: Runner, step: Step) -> str:
    """Why the check fails now, in words; "" when it passes."""
    try:
        runner.check(step)
    except LabError as error:
        return redact(str(error))
    except Exception as error:  # a check met something it does not know: say so, go on
        return redact(f"the check could not be finished: {type(error).__name__}: {error}")
    return ""
