"""Every step of every lab: unsolved fails, solved passes, undone fails again.

This module is part of the package, so that any project can run it: `pytest --lab-only 01` does, and
`pytest --pyargs harness.proving.test_labs`.
"""

from __future__ import annotations

import pytest

from harness.proving.leaks import KEEPERS, search
from harness.proving.plugin import told_shortly
from harness.proving.proof import Proofs, Turn

pytestmark = pytest.mark.live


def test_step(lab_turn: Turn, proofs: Proofs) -> None:
    proof = proofs.of(lab_turn.step)
    if proof.failed:
        pytest.skip(f"step {proof.failed} of this lab failed")
    with told_shortly():
        proof.take(lab_turn)
    # The values of this run are known here: what the steps wrote down must hold none.
    assert search(proof.runner.context.folder, KEEPERS) == []
