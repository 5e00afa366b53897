"""The list of labs: every folder labs/labNN_topic whose steps.py makes a `Lab`.

The one module that imports `labs`. A lab is added by adding a folder; nothing else
changes.
"""

from __future__ import annotations

import importlib
import os
import re
from functools import cache
from types import ModuleType

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
            raise TypeError(f"{module.__name__} must define exactly one Lab numbered {match[1]}")
        in_order_of_imports(module, labs[0])
        if drafts or not labs[0].draft:
            found.append(labs[0])
    return tuple(found)


def in_order_of_imports(module: ModuleType, lab: Lab) -> None:
    """Number the steps in the order in which `module` imports the modules that make them.

    Steps register themselves when their module is imported, and a notebook imports what
    its cells use in another order than the lab's own steps.py does.
    """
    modules = [value.__name__ for value in vars(module).values() if isinstance(value, ModuleType)]
    order = {name: place for place, name in enumerate(modules)}
    lab.steps.sort(key=lambda step: order.get(step.do.__module__, len(order)))
    for number, step in enumerate(lab.steps, start=1):
        step.number = number


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
