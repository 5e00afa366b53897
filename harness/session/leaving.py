"""Leaving a cluster that was brought along: what labs made there goes first."""

from __future__ import annotations

from harness.base.errors import LabError
from harness.environment.environment import Environment
from harness.lab.catalog import all_labs
from harness.lab.context import LabContext
from harness.session.runner import Runner


def leave(environment: Environment) -> None:
    """Reset every lab that was begun there, while Vault and the integrations still run.

    An environment with a cluster of its own needs none of it. One that does not run any more, or
    a lab that cannot be reset, is no reason to stay: what bears the environment's label goes then.
    """
    record = environment.record if environment.brought else None
    if record is None or not record.complete:
        return
    try:
        access = environment.running()
    except LabError:
        return
    for lab in all_labs():
        if not (access.state / "labs" / lab.number).is_dir():
            continue
        try:
            Runner(LabContext(access, lab, on_output=None)).reset()
        except LabError:
            continue
