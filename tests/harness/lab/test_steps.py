"""Labs, steps and expectations."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import CheckFailed, UsageError
from harness.base.redact import register
from harness.lab import catalog
from harness.lab.context import LabContext
from harness.lab.steps import Lab, Step, expect, listening
from tests.fakes import toylab


@pytest.fixture
def lab() -> Lab:
    lab = Lab("07", "A lab", minutes=1, goal="To be tested.")

    @lab.step("First")
    def first(_lab: object) -> None:
        """Why."""

    @lab.step("Second", observe=True)
    def second(_lab: object) -> None:
        """Why not."""

    return lab


def test_what_an_author_says_of_a_step_is_kept(lab: Lab) -> None:
    @lab.step("Third", minutes=4, goals=["it is there"], further=True)
    def third(_lab: object) -> None:
        """Why."""

    assert (third.minutes, third.goals, third.further) == (4, ("it is there",), True)
    assert (lab.steps[0].minutes, lab.steps[0].goals, lab.steps[0].further) == (0, (), False)


def test_steps_are_numbered_named_and_explained(lab: Lab) -> None:
    assert [(s.id, s.name, s.why) for s in lab.steps] == [
        ("07.1", "first", "Why."),
        ("07.2", "second", "Why not."),
    ]


def test_the_sequence_decides_the_order_and_the_numbers_follow(lab: Lab) -> None:
    first, second = lab.steps
    lab.sequence(second, first)
    assert [(s.id, s.name) for s in lab.steps] == [("07.1", "second"), ("07.2", "first")]
    assert lab.find(1) is second


def test_a_sequence_names_every_step_of_its_lab_once(lab: Lab) -> None:
    first, second = lab.steps
    other = Lab("08", "Another", minutes=1, goal="To be elsewhere.")
    foreign = other.step("Foreign")(lambda _lab: None)
    for steps, complaint in (
        ((first,), "leaves out second"),
        ((first, second, first), "names first twice"),
        ((first, second, foreign), "is a step of another lab"),
    ):
        with pytest.raises(TypeError, match=complaint):
            lab.sequence(*steps)
    assert lab.steps == [first, second]


def test_a_step_that_comes_after_the_sequence_is_refused(lab: Lab) -> None:
    lab.sequence(*lab.steps)
    with pytest.raises(TypeError, match="third is not in the lab's sequence"):

        @lab.step("Third")
        def third(_lab: object) -> None:
            """Why."""


@pytest.mark.parametrize("name", ["second", "2"])
def test_steps_are_found_by_name_and_number(lab: Lab, name: str) -> None:
    assert lab.find(name).name == "second"


@pytest.mark.parametrize("name", ["third", "0", "3", "-1", ""])
def test_an_unknown_step_is_an_error_that_lists_the_steps(lab: Lab, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        lab.find(name)
    assert "first, second" in str(caught.value)


def test_a_step_that_only_looks_is_verified_by_its_check_or_by_looking_again(
    lab: Lab, tmp_path: Path
) -> None:
    context = LabContext(toylab.access(tmp_path), lab)
    looked: list[str] = []
    second = lab.steps[1]
    second.do = lambda _lab: looked.append("looked")
    second.verify(context)
    second.check(lambda _lab: looked.append("checked"))
    second.verify(context)
    assert looked == ["looked", "checked"]


def test_expect_reports_what_holds_and_raises_what_does_not() -> None:
    heard: list[str] = []
    with listening(heard.append):
        expect(1, "one is true")
        with pytest.raises(CheckFailed) as caught:
            expect(0, "zero is true", found=0, hint="it is not")
    assert heard == ["one is true"]
    assert "not yet true: zero is true" in str(caught.value)
    assert "found: 0" in str(caught.value)
    assert "it is not" in str(caught.value)


def test_what_was_found_is_redacted_and_shortened() -> None:
    register("found-by-accident")
    with pytest.raises(CheckFailed) as caught:
        expect(False, "it is hidden", found={"password": "found-by-accident", "long": "x" * 5000})
    assert "found-by-accident" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def every_step() -> list[Step]:
    return [step for lab in catalog.all_labs() for step in lab.steps]


@pytest.mark.parametrize("step", every_step(), ids=lambda step: step.id)
def test_every_step_explains_itself_hints_twice_and_can_fail(step: Step) -> None:
    assert len(step.why) > 100, "a learner reads why"
    assert len(step.hints) >= 2, "hints come one at a time, at least two"
    assert step.observe or step.checks, "a step without a check proves nothing"


def test_unknown_labs_and_steps_name_what_there_is() -> None:
    with pytest.raises(UsageError, match="there is no lab '77'"):
        catalog.find_lab("77")
    with pytest.raises(UsageError, match="lab 01 has no step '99'"):
        catalog.find_steps("01.99")
