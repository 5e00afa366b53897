"""The list of labs: found by folder, in order; a step belongs to one place in its sequence."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.base.errors import UsageError
from harness.base.paths import CHECKOUT
from harness.lab.catalog import all_labs, find_lab, find_steps
from harness.lab.steps import Lab

LATE_FIRST = """
import importlib, sys
from harness.lab.catalog import find_lab
for module in reversed(sys.argv[2:]):
    importlib.import_module(module)
print(*[step.do.__module__ for step in find_lab(sys.argv[1]).steps])
"""

ONE_LAB = """
import sys
from harness.lab.catalog import find_lab
find_lab("03")
print(*sorted({name.split(".")[1] for name in sys.modules if name.startswith("labs.")}))
"""


@pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.number)
def test_steps_have_one_order_whoever_imports_their_modules_first(lab: Lab) -> None:
    modules = [step.do.__module__ for step in lab.steps]
    found = subprocess.run(
        [sys.executable, "-c", LATE_FIRST, lab.number, *dict.fromkeys(modules)],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        check=True,
    )
    assert found.stdout.split() == modules


def test_a_command_about_one_lab_imports_no_other() -> None:
    found = subprocess.run(
        [sys.executable, "-c", ONE_LAB], capture_output=True, text=True, cwd=CHECKOUT, check=True
    )
    assert found.stdout.split() == ["lab03_injector"]


def test_labs_and_steps_are_found_by_number_and_by_name() -> None:
    lab = all_labs()[0]
    assert find_lab(lab.number) is find_lab(lab.number.removeprefix("0")) is lab
    step = lab.steps[1]
    assert find_steps(f"{lab.number}.2") == find_steps(f"{lab.number}.{step.name}") == (lab, [step])
    assert find_steps(lab.number) == (lab, lab.steps)


@pytest.mark.parametrize("wrong", ["77", "", "01.99", "01.nothing"])
def test_what_does_not_exist_is_told_with_what_does(wrong: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_steps(wrong)
    assert caught.value.hint
