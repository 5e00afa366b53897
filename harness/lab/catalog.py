"""The list of labs: every folder labs/labNN_topic whose steps.py states a `Lab`'s sequence.

This is the only module that imports `labs`. To add a lab, add a folder; nothing else
changes.
"""

from __future__ import annotations

import importlib
import os
import re
from functools import cache

from harness.base.errors import UsageError
from harness.base.paths import CHECKOUT
from harness.lab.steps import Lab, Step

_FOLDER = re.compile(r"lab(\d\d)_[a-z0-9_]+")


@cache
def all_labs() -> tuple[Lab, ...]:
    """Every lab of this checkout, in the order of their numbers; drafts with LAB_DRAFTS=1."""
    drafts = bool(os.environ.get("LAB_DRAFTS"))
    found = []
    for folder in sorted((CHECKOUT / "labs").iterdir()):
        match = _FOLDER.fullmatch(folder.name)
        if not match or not (folder / "steps.py").is_file():
            continue
        module = importlib.import_module(f"labs.{folder.name}.steps")
        labs = [value for value in vars(module).values() if isinstance(value, Lab)]
        if len(labs) != 1 or labs[0].number != match.group(1):
            raise TypeError(f"{module.__name__} must import exactly one Lab numbered {match[1]}")
        if not labs[0].sequenced:
            raise TypeError(f"{module.__name__} must state the order of its steps: sequence(...)")
        if drafts or not labs[0].draft:
            found.append(labs[0])
    return tuple(found)


def find_lab(number: str) -> Lab:
    """The lab with this number ("01", "1"). Raises UsageError when there is none."""
    for lab in all_labs():
        if number in (lab.number, lab.number.removeprefix("0"), lab.prefix):
            return lab
    known = ", ".join(f"{lab.number} ({lab.title})" for lab in all_labs())
    raise UsageError(f"there is no lab {number!r}", hint=f"the labs are {known}")


def find_steps(selector: str) -> tuple[Lab, list[Step]]:
    """The lab that `selector` names, and the steps of it: all, or the one it names.

    `01`, `1` and `lab01` name a lab; `01.3`, `1.3`, `01.03` and `01.trust_cluster` a step.

    Raises UsageError for a lab or a step that is not there, and for a dot without a step:
    `reset 01.` must not be taken for `reset 01`.
    """
    number, dot, step = selector.strip().partition(".")
    lab = find_lab(number)
    if not dot:
        return lab, list(lab.steps)
    if not step:
        raise UsageError(
            f"{selector!r} names no step",
            hint=f"{lab.number} for the whole lab, {lab.number}.1 for its first step",
        )
    return lab, [lab.find(str(int(step)) if step.isdecimal() else step)]
