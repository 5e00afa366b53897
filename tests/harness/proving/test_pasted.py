"""What a step shows is typed into a shell, and that does the step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.base.process import CommandFailed
from harness.lab.context import LabContext
from harness.lab.steps import Lab, expect
from harness.proving import pasted
from harness.proving.proof import Proof, Turn
from harness.session.runner import Runner
from tests.fakes import toylab

LAB = Lab("91", "One", minutes=1, goal="g")


@LAB.step("Write")
def write(lab: LabContext) -> None:
    said = lab.sh('echo one >"$LAB_TEST_FILE"')
    lab.sh("""
cat <<EOF >>$LAB_TEST_FILE
two
EOF
""")
    lab.wait_for("nothing", lambda: said == "never")


@write.check
def _(lab: LabContext) -> None:
    file = Path(os.environ["LAB_TEST_FILE"])
    expect(file.exists() and file.read_text("utf-8") == "one\ntwo\n", "there are two lines")


@LAB.step("Break")
def break_it(lab: LabContext) -> None:
    lab.sh("echo 'no end")


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    toylab.install(monkeypatch.setattr)


def context(tmp_path: Path) -> LabContext:
    return LabContext(toylab.access(tmp_path), LAB)


def test_what_is_shown_does_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TEST_FILE", str(tmp_path / "page"))
    proof = Proof(Runner(context(tmp_path)))
    assert pasted.is_typed(write)
    proof.take(Turn(write))
    assert proof.runner.progress.done(write)


def test_what_cannot_be_pasted_is_found(tmp_path: Path) -> None:
    lines = pasted.lines_of(break_it, context(tmp_path))
    assert lines == ["echo 'no end"]
    with pytest.raises(CommandFailed, match="cannot be pasted"):
        pasted.paste(context(tmp_path), lines)


def test_a_step_with_python_of_its_own_is_not_typed() -> None:
    assert not any(pasted.is_typed(step) for step in toylab.toy.steps)
