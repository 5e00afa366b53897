"""The list of labs: every folder labs/labNN_topic whose steps.py states a `Lab`'s sequence.

This is the only module that imports `labs`. To add a lab, add a folder; nothing else
changes. The folders that the variable LAB_PATH names are looked through as well: a team's
own labs, outside this checkout. Their packages become part of the package `labs`.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from harness.base.errors import UsageError
from harness.base.paths import CHECKOUT
from harness.lab.steps import Lab, Step

OWN = CHECKOUT / "labs"
PATH_VARIABLE = "LAB_PATH"
_FOLDER = re.compile(r"lab(\d\d)_[a-z0-9_]+")


def outside() -> tuple[Path, ...]:
    """The folders that LAB_PATH names. Raises UsageError for one that is not there."""
    named = os.environ.get(PATH_VARIABLE, "").split(os.pathsep)
    folders = tuple(Path(name).expanduser().absolute() for name in named if name)
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(
                f"{PATH_VARIABLE} names a folder that is not there",
                where=str(folder),
                hint=f"folders of labs, with {os.pathsep!r} between them; or unset {PATH_VARIABLE}",
            )
    return folders


def home(lab: Lab) -> Path:
    """The folder of LAB_PATH that this lab lies in, or the checkout's own `labs`."""
    folder = lab.source.parent
    return folder if folder in outside() else OWN


def labs_in(folder: Path) -> tuple[Lab, ...]:
    """The labs that lie in this folder: `OWN`, or one of LAB_PATH."""
    return tuple(lab for lab in all_labs() if home(lab) == folder)


@cache
def all_labs() -> tuple[Lab, ...]:
    """Every lab that is there, in the order of their numbers; drafts with LAB_DRAFTS=1.

    Raises UsageError when two labs have the same number, or LAB_PATH is wrong.
    """
    return tuple(lab for folder, number in _folders() if _is_shown(lab := _load(folder, number)))


def find_lab(number: str) -> Lab:
    """The lab with this number ("01", "1"). Raises UsageError when there is none."""
    # Only this lab's modules are imported: those of all labs take a second.
    found = [_load(folder, own) for folder, own in _folders() if number in _names(own)]
    for lab in found or all_labs():
        if number in _names(lab.number) and _is_shown(lab):
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


def _folders() -> Iterator[tuple[str, str]]:
    """The folder of each lab and its number, in the order of the numbers."""
    labs = importlib.import_module("labs")
    found: dict[str, Path] = {}
    for folder in (OWN, *outside()):
        if folder != OWN and str(folder) not in labs.__path__:
            labs.__path__.append(str(folder))
        for lab in folder.iterdir():
            match = _FOLDER.fullmatch(lab.name)
            if not (match and (lab / "steps.py").is_file()):
                continue
            if (other := found.setdefault(match[1], lab)) != lab:
                raise UsageError(
                    f"two labs have the number {match[1]}",
                    where=f"{other} and {lab}",
                    hint="give one of them another number",
                )
    for number in sorted(found):
        yield found[number].name, number


def _names(number: str) -> tuple[str, ...]:
    """What a person may call the lab with this number: `01`, `1`, `lab01`."""
    return number, number.removeprefix("0"), f"lab{number}"


def _load(folder: str, number: str) -> Lab:
    """The lab whose steps lie in this folder; its modules are imported."""
    module = importlib.import_module(f"labs.{folder}.steps")
    labs = [value for value in vars(module).values() if isinstance(value, Lab)]
    if len(labs) != 1 or labs[0].number != number:
        raise TypeError(f"{module.__name__} must import exactly one Lab numbered {number}")
    if not labs[0].sequenced:
        raise TypeError(f"{module.__name__} must state the order of its steps: sequence(...)")
    return labs[0]


def _is_shown(lab: Lab) -> bool:
    return not lab.draft or bool(os.environ.get("LAB_DRAFTS"))
