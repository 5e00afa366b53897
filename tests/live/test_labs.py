"""Every step of every lab: unsolved fails, solved passes, undone fails again (harness.proof)."""

from __future__ import annotations

import pytest

from harness.plugin import told_shortly
from harness.proof import Proofs
from harness.steps import Step

pytestmark = pytest.mark.live


def test_step(lab_step: Step, proofs: Proofs) -> None:
    proof = proofs.of(lab_step)
    if proof.failed:
        pytest.skip(f"step {proof.failed} of this lab failed")
    with told_shortly():
        proof.prove(lab_step)
