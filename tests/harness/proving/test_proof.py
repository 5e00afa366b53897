"""The proof of a step: each way in which a step can be wrong is found, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.errors import LabError
from harness.lab.context import LabContext
from harness.lab.steps import Lab, expect
from harness.proving.proof import NotProven, Proof, Proofs, Turn, turns
from harness.session.runner import Runner
from tests.fakes import toylab
from tests.fakes.toylab import shelf


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    toylab.install(monkeypatch.setattr)


@pytest.fixture
def proof_of(tmp_path: Path) -> Callable[[Lab], Proof]:
    return lambda lab: Proof(Runner(LabContext(toylab.access(tmp_path), lab)))


def write(lab: LabContext) -> None:
    (shelf(lab) / "page").write_text("one")


def has_page(lab: LabContext) -> None:
    expect((shelf(lab) / "page").exists(), "there is a page")


def one_step(do: Callable[[LabContext], None], check: Callable[[LabContext], None] | None) -> Lab:
    lab = Lab("91", "One", minutes=1, goal="g")
    step = lab.step("only")(do)
    if check:
        step.check(check)
    return lab


def prove(proof: Proof, *labs: Lab) -> None:
    for turn in turns(labs):
        proof.take(turn)


def test_a_lab_is_walked_forwards_and_back() -> None:
    assert [str(turn) for turn in turns([toylab.toy])] == [
        "90.1-put_book",
        "90.2-look",
        "90.3-put_letter",
        "90.3-put_letter-undone",
        "90.1-put_book-undone",
    ]


def test_every_step_of_a_good_lab_is_proved(
    proof_of: Callable[[Lab], Proof], tmp_path: Path
) -> None:
    proof = proof_of(toylab.toy)
    for step in toylab.toy.steps:
        proof.take(Turn(step))
    assert {file.name for file in (tmp_path / "shelf").iterdir()} == {"book", "letter"}
    proof.take(Turn(toylab.put_letter, undone=True))
    assert {file.name for file in (tmp_path / "shelf").iterdir()} == {"book"}
    proof.take(Turn(toylab.put_book, undone=True))
    assert list((tmp_path / "shelf").iterdir()) == []
    assert proof.failed == ""


@pytest.mark.parametrize("undone", [False, True])
def test_a_single_turn_can_be_taken_because_the_earlier_ones_are_taken_first(
    proof_of: Callable[[Lab], Proof], tmp_path: Path, undone: bool
) -> None:
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "letter").write_text("left by an earlier run")
    proof_of(toylab.toy).take(Turn(toylab.put_letter, undone))
    letter = tmp_path / "shelf" / "letter"
    assert letter.exists() is not undone
    assert undone or "hello" in letter.read_text()
    assert (tmp_path / "shelf" / "book").exists()


def test_a_goal_that_the_check_does_not_say_is_found(proof_of: Callable[[Lab], Proof]) -> None:
    def goals(*sentences: str) -> Lab:
        lab = Lab("91", "One", minutes=1, goal="g")
        lab.step("only", goals=sentences)(write).check(has_page)
        return lab

    prove(proof_of(good := goals("there is a page")), good)
    with pytest.raises(NotProven, match="never says its goal: there is a book"):
        prove(proof_of(bad := goals("there is a page", "there is a book")), bad)


def test_a_step_that_looks_is_done_and_then_checked(proof_of: Callable[[Lab], Proof]) -> None:
    happened: list[str] = []
    lab = Lab("91", "One", minutes=1, goal="g")
    step = lab.step("only", observe=True)(lambda _lab: happened.append("look"))
    step.check(lambda _lab: happened.append("check"))
    prove(proof_of(lab), lab)
    assert happened == ["look", "check"]


def test_do_check_undo_follow_each_other(proof_of: Callable[[Lab], Proof]) -> None:
    happened: list[str] = []

    def do(lab: LabContext) -> None:
        happened.append("do")
        write(lab)

    def check(lab: LabContext) -> None:
        happened.append("passes" if (shelf(lab) / "page").exists() else "fails")
        has_page(lab)

    lab = one_step(do, check)
    prove(proof_of(lab), lab)
    assert happened == ["fails", "do", "passes", "fails"]


def nothing(_lab: LabContext) -> None:
    return


def stumble(_lab: LabContext) -> None:
    raise LabError("Vault answered 404")


def leave_behind(lab: LabContext) -> None:
    write(lab)
    (shelf(lab) / "kept").write_text("x")


@pytest.mark.parametrize(
    ("do", "check", "complaint"),
    [
        (write, None, "has no check"),
        (write, nothing, "passes although nothing was done yet"),
        (write, stumble, "stumbles instead of saying what is missing: Vault answered 404"),
        (nothing, has_page, "not yet true: there is a page"),
        (leave_behind, has_page, "did not return to the state before it:\n  kept"),
    ],
)
def test_a_step_that_is_wrong_is_not_proved(
    proof_of: Callable[[Lab], Proof],
    monkeypatch: pytest.MonkeyPatch,
    do: Callable[[LabContext], None],
    check: Callable[[LabContext], None] | None,
    complaint: str,
) -> None:
    def restore(lab: LabContext, _stored: object) -> list[str]:
        (shelf(lab) / "page").unlink(missing_ok=True)
        return []

    monkeypatch.setattr("harness.snapshot.restore.restore", restore)
    lab = one_step(do, check)
    proof = proof_of(lab)
    with pytest.raises(LabError) as caught:
        prove(proof, lab)
    assert complaint in caught.value.what
    assert proof.failed == "91.1"


def test_an_undo_that_does_nothing_is_found(
    proof_of: Callable[[Lab], Proof], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.snapshot.restore.restore", lambda lab, stored: [])
    monkeypatch.setattr("harness.snapshot.take.difference", lambda before, after: [])
    lab = one_step(write, has_page)
    with pytest.raises(NotProven, match="passes although the step was undone"):
        prove(proof_of(lab), lab)


def test_a_step_that_looks_is_run(proof_of: Callable[[Lab], Proof], tmp_path: Path) -> None:
    lab = Lab("91", "One", minutes=1, goal="g")
    lab.step("look", observe=True)(has_page)
    with pytest.raises(LabError, match="there is a page"):
        prove(proof_of(lab), lab)
    (tmp_path / "shelf" / "page").write_text("x")
    monkey = proof_of(lab)
    monkey.runner.reset = lambda: []  # type: ignore[method-assign] # the page must stay
    prove(monkey, lab)


def test_one_proof_a_lab(tmp_path: Path) -> None:
    proofs = Proofs(lambda number: LabContext(toylab.access(tmp_path), toylab.toy))
    first, second, third = (proofs.of(step) for step in toylab.toy.steps)
    assert first is second is third
