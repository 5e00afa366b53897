"""`lab new` makes a lab that is proved as it is: its check fails, passes, fails again."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import labs
from harness.lab.access import Access
from harness.lab.context import LabContext
from harness.lab.scaffold import new_lab
from harness.lab.steps import Lab
from harness.proving.proof import Proof, turns
from harness.session.runner import Runner

pytestmark = pytest.mark.live


@pytest.fixture
def sample(tmp_path: Path) -> Iterator[Lab]:
    """A lab that was made a moment ago, in a folder of this test's own."""
    made = new_lab(tmp_path, "97", "A sample")
    labs.__path__.append(str(tmp_path))
    try:
        importlib.import_module(f"labs.{made.name}.steps")
        yield importlib.import_module(f"labs.{made.name}.lab").this_lab
    finally:
        labs.__path__.remove(str(tmp_path))


def test_a_new_lab_is_proved_as_it_is(sample: Lab, environment: Access) -> None:
    proof = Proof(Runner(LabContext(environment, sample)))
    for turn in turns([sample]):
        proof.take(turn)
    assert not proof.failed
    proof.runner.reset()
