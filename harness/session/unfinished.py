"""A check that met an error of its own, in a sentence instead of a traceback.

A learner's half-done step leaves states that no check foresees: an object that is not there
yet, a field that is missing. Python then raises a TypeError or a KeyError somewhere in the
check. The sentence says what was missing and quotes the line of the lab that read it.
"""

from __future__ import annotations

import linecache
from types import TracebackType

from harness.base.errors import CheckUnfinished
from harness.base.paths import CHECKOUT
from harness.lab.steps import Step


def unfinished(step: Step, error: Exception) -> CheckUnfinished:
    """The error to raise instead of `error`, which is none that a person is meant to read."""
    return CheckUnfinished(
        f"the check could not be finished: {_reason(error)}",
        where=_line_of(step, error.__traceback__),
        hint=f"do the steps before it first; ./lab solve {step.id} does all of it",
    )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "NoneType" in text and isinstance(error, TypeError | AttributeError):
        return "something that it reads is not there"
    match error:
        case KeyError():
            return f"what it reads has no {text}"
        case IndexError() | StopIteration():
            return "a list that it reads is shorter than it should be"
        case _:
            return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line_of(step: Step, trace: TracebackType | None) -> str:
    """The innermost line of the step's lab: file, number and code; "" when there is none."""
    package = step.do.__module__.rpartition(".")[0]
    found = ""
    while trace is not None:
        frame = trace.tb_frame
        module = str(frame.f_globals.get("__name__", ""))
        if module == step.do.__module__ or (package and module.startswith(f"{package}.")):
            file = frame.f_code.co_filename
            code = linecache.getline(file, trace.tb_lineno).strip()
            found = f"{file.removeprefix(f'{CHECKOUT}/')}:{trace.tb_lineno}: {code}"
        trace = trace.tb_next
    return found
