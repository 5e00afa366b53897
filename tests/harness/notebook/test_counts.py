"""What a learner sees, counted over all rendered notebooks: no cell needs the project's own Python.

A list of exemptions holds the steps that are not yet so. It may only shrink: a step that is
written anew leaves it, and a new step never enters it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

from harness.lab.catalog import all_labs
from harness.lab.steps import Lab, Step
from harness.notebook.render import render
from harness.notebook.source import source_of

STEPS = [step for lab in all_labs() for step in lab.steps]
# How a cell shows something: commands and YAML show what they print.
SHOWS = re.compile(
    r"\b(?:lab\.(?:sh|kubectl_apply|show|draw)|print|display)\(|^\s*!|^%%", re.MULTILINE
)
MEANINGLESS = re.compile(r"^- `\w+`, imported above$", re.MULTILINE)


# What measures: probes of the lab's own, which nobody would type.
MEASURING = frozenset(
    {
        "05.map_the_leaks",
        "05.many_at_once",
        "05.measure",
        "05.when_something_is_away",
        "05.which_one",
    }
)
# Steps that are not yet so.
IMPORTS = MEASURING | frozenset(
    {
        "06.encrypt_at_rest",
        "06.other_ciphers",
        "06.rotate_the_key",
        "06.use_vault_transit",
        "06.vault_goes_away",
        "06.what_it_does_not_do",
    }
)
SILENT = frozenset(
    {
        "06.rotate_the_key",
        "05.which_one",
    }
)
NOTES = frozenset(
    {
        "06.encrypt_at_rest",
        "06.other_ciphers",
        "06.rotate_the_key",
        "06.vault_goes_away",
        "06.what_it_does_not_do",
    }
)
GIVEN = frozenset(
    {
        "06.encrypt_at_rest",
        "06.other_ciphers",
        "06.rotate_the_key",
        "06.use_vault_transit",
        "06.vault_goes_away",
        "06.what_it_does_not_do",
        "05.map_the_leaks",
        "05.measure",
    }
)


def exercise_cells(kind: str) -> Iterator[tuple[Step, str]]:
    """Each step with the text of one of its cells in the exercise: why, do or check."""
    for lab in all_labs():
        notebook: Any = render(lab, exercise=True)
        cells = {cell["id"]: cell["source"] for cell in notebook["cells"]}
        for step in lab.steps:
            yield step, cells.get(f"{step.id.replace('.', '-')}-{kind}", "")


def needs_the_project(step: Step) -> bool:
    """Whether the first cell must import something of this project for the step."""
    statements = source_of(step).imports.values()
    return any(re.match(r"(?:from|import) (?:labs|harness)\b", one) for one in statements)


def shows_nothing(step: Step) -> bool:
    """Whether the step's cell prints no result."""
    return not SHOWS.search(source_of(step).code)


def reads_notes(step: Step) -> bool:
    """Whether the step's check reads notes, which a terminal cannot write."""
    return step.checks is not None and "lab.notes" in inspect.getsource(step.checks)


def names(steps: Iterator[Step]) -> set[str]:
    return {f"{step.lab.number}.{step.name}" for step in steps}


RULES = {
    "a cell imports nothing of this project": (needs_the_project, IMPORTS),
    "a cell shows a result": (shows_nothing, SILENT),
    "a check reads no notes": (reads_notes, NOTES),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds_but_for_the_steps_that_are_exempt(rule: str) -> None:
    breaks, exempt = RULES[rule]
    assert names(step for step in STEPS if breaks(step)) - exempt == set(), rule


def test_what_an_exercise_gives_has_a_meaning() -> None:
    found = (step for step, text in exercise_cells("why") if MEANINGLESS.search(text))
    assert names(found) - GIVEN == set()


def test_labs_00_to_04_are_exempt_from_nothing() -> None:
    exempt = IMPORTS | SILENT | NOTES | GIVEN
    assert {name for name in exempt if name[:2] < "05"} == set()


ASKS = re.compile(r"Before you run (?:it|the)")


def test_a_question_before_a_cell_has_a_folded_answer() -> None:
    for step, text in exercise_cells("why"):
        asked = bool(ASKS.search(step.why))
        assert asked == bool(step.answer), step.id
        assert text.count("<details><summary>Answer</summary>") == asked, step.id


@pytest.mark.parametrize(
    "lab", [lab for lab in all_labs() if lab.number in ("01", "02", "03", "04")]
)
def test_every_third_step_or_so_asks_before_it_shows(lab: Lab) -> None:
    way = [step for step in lab.steps if not step.further and not step.observe]
    assert sum(bool(step.answer) for step in lab.steps) * 4 >= len(way)
