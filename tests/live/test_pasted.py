"""What the tour shows of a step can be pasted into `./lab shell`, and does the step there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from harness.base.redact import redact
from harness.lab.catalog import all_labs
from harness.lab.context import LabContext
from harness.lab.steps import Step
from harness.notebook.source import source_of
from harness.session.runner import Runner

pytestmark = pytest.mark.live

# What a step that is typed may use of `lab` besides: it changes nothing, or waits.
TYPED = frozenset({"sh", "kubectl_apply"})
BESIDES = frozenset({"folder", "show", "wait_for"})
# Lab 04 waits until an operator notices that a Vault is away.
PASTE_SECONDS = 300


def is_typed(step: Step) -> bool:
    """Whether all that the step does is typed: no call of Python's own."""
    tools = set(source_of(step).tools)
    return not step.observe and bool(tools & TYPED) and tools <= TYPED | BESIDES


TYPED_STEPS = [step for lab in all_labs() for step in lab.steps if is_typed(step)]


@pytest.mark.parametrize("step", TYPED_STEPS, ids=lambda step: f"{step.id}-{step.name}")
def test_what_is_shown_does_the_step(step: Step, lab_context: Callable[[str], LabContext]) -> None:
    lab = lab_context(step.lab.number)
    runner = Runner(lab)
    runner.reach(step)
    shown: list[str] = []
    lab.on_call = shown.append
    runner.solve(step)
    lab.on_call = None
    runner.undo(step)
    runner.begin(step)
    ran = subprocess.run(
        ["bash"],
        input="\n".join(shown),
        env={**os.environ, **lab.shell_environment()},
        capture_output=True,
        text=True,
        timeout=PASTE_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, redact(ran.stdout + ran.stderr)
    runner.check(step)
