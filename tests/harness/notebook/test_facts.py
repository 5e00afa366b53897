"""The sentences of a check, read without running it: what an exercise states as its goal."""

from __future__ import annotations

from typing import Any

import pytest

from harness.lab.catalog import all_labs
from harness.lab.context import LabContext
from harness.lab.steps import Lab, expect
from harness.notebook.facts import facts
from tests.fakes.toylab import look, put_book

lab91 = Lab("91", "One", minutes=1, goal="g")


@lab91.step("only")
def only(lab: LabContext) -> None:
    """Why."""


@only.check
def _(lab: LabContext) -> None:
    mount = lab.path("kv")
    secret, neighbour = lab.path("kv", "data", "app"), lab.path("kv", "data", "other")
    answer: Any = lab.http.get(secret)
    expect(answer, f"{mount}/ is mounted")
    expect(answer, f"it allows {secret} and not {neighbour}")
    expect(answer, what=f"a pod runs in {lab.namespace}")
    expect(answer, f"found {answer}: known only when it runs")
    mount = answer.text
    expect(answer, f"{mount} stands for something else now")
    for field, word in (("ttl", "short"), ("period", "long")):
        expect(field in answer, f"{field} is {word}")
    for field in answer.json():
        expect(field in answer, f"it has {field}")
    if answer:
        expect(answer, "a sentence")
    else:
        expect(answer, "a sentence")
    helper(lab, "given")


def helper(lab: LabContext, word: str) -> None:
    expect(lab, f"a helper was {word} a word")
    helper(lab, word)


def test_names_of_the_lab_are_put_in_and_what_only_a_run_knows_is_left_out() -> None:
    assert facts(only) == [
        "lab91-kv/ is mounted",
        "it allows lab91-kv/data/app and not lab91-kv/data/other",
        "a pod runs in lab91",
        "ttl is short",
        "period is long",
        "a sentence",
        "a helper was given a word",
    ]


def test_a_step_that_only_looks_has_no_check_to_read() -> None:
    assert facts(look) == []
    assert facts(put_book) == ["there is a book on the shelf", "the book says hello"]


@pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.number)
def test_every_step_that_is_an_exercise_states_a_goal(lab: Lab) -> None:
    silent = [step.id for step in lab.steps if not (step.observe or step.goals or facts(step))]
    assert silent == []
