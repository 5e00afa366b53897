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
    """What `01` or `01.3` or `01.trust_cluster` names: a lab and some of its steps."""
    number, _, step = selector.partition(".")
    lab = find_lab(number)
    return lab, [lab.find(step)] if step else list(lab.steps)
