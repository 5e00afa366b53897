"""A fault: how it is made, what the labs must say, how it is taken back; and the score.

A fault is typed, as a person makes it: its commands run in the shell of its lab, with the
variables of `./lab shell`. Beside those they have VAULT_NAME (the container of Vault), LAB_UP (the
command that repairs the environment) and KEPT (a folder for what was there before).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from harness.base import process
from harness.base.errors import LabError
from harness.base.paths import CHECKOUT
from harness.base.redact import redact
from harness.diagnosis.explain import explain
from harness.lab.context import LabContext
from harness.lab.steps import Step
from harness.session.runner import Runner

RIGHT, UNMENDED, VAGUE, WRONG, SILENT = "right", "not mended", "vague", "wrong", "none"
COMMAND_SECONDS = 180
# A broken thing may hide the next one: each round of check and command mends one.
ROUNDS = 4
_POD = '"$KEPT/pod.yaml"'
# What lab 01 writes to its auth method's config, by field; the values are bash.
CONFIG = {
    "kubernetes_host": '"$API_SERVER"',
    "token_reviewer_jwt": '"$(kubectl create token reviewer --duration=24h)"',
    "kubernetes_ca_cert": '"$(kubectl get configmap kube-root-ca.crt '
    "-o jsonpath='{.data.ca\\.crt}')\"",
}


def config(**changed: str) -> str:
    """The words of `vault write .../config`: a field that is given twice would be a list."""
    return " ".join(f"{field}={value}" for field, value in {**CONFIG, **changed}.items())


def pod_gone() -> str:
    """Lines of bash: the pod web is deleted, and how it was is kept."""
    return (
        f"[ -s {_POD} ] || kubectl apply view-last-applied pod web >{_POD}\n"
        "kubectl delete pod web --now --ignore-not-found"
    )


def pod_again(change: str = "") -> str:
    """Lines of bash: the pod web is deleted and made again, as it was but for sed's `change`."""
    return f"{pod_gone()}\nsed -e '{change}' {_POD} | kubectl apply -f -"


@dataclass(frozen=True)
class Fault:
    """One fault of one lab.

    `step` is the step at which the learner stands; with `solved`, it is done before. `breaks`
    and `restores` are lines of bash. `cause` is a regular expression that the cause must match,
    or the check's first sentence where it is about the broken thing itself.
    `mends`: the command that the check prints mends it; False where a person must decide.
    """

    name: str
    lab: str
    step: str
    breaks: str
    restores: str
    cause: str
    mends: bool = True
    solved: bool = False
    flavours: tuple[str, ...] = ("vault", "openbao")


@dataclass(frozen=True)
class Outcome:
    """What came of a fault: its score, and the sentence that the score is for."""

    fault: Fault
    score: str
    said: str


def stand(runner: Runner, fault: Fault) -> Step:
    """Bring the lab to where the fault is made; nothing is done when it stands there already."""
    step = runner.lab.find(fault.step)
    if fault.solved:
        if not runner.progress.done(step):
            runner.solve_through(step)
        return step
    if not runner.begun(step):
        runner.reach(step)
        runner.begin(step)
    return step


def tried(runner: Runner, fault: Fault) -> Outcome:
    """Make the fault, ask the check, run what it says; the fault is gone afterwards."""
    step = stand(runner, fault)
    try:
        typed(runner.context, fault.breaks)
        return _scored(runner, fault, step)
    finally:
        typed(runner.context, fault.restores)


def _scored(runner: Runner, fault: Fault, step: Step) -> Outcome:
    text = _failure(runner, step)
    if text is None:
        return Outcome(fault, SILENT, "the check passes")
    # What the check itself looks for is the cause, when that is what is missing.
    first = text.splitlines()[0]
    cause = _cause(text) or (first if re.search(fault.cause, first) else "")
    if not cause:
        return Outcome(fault, VAGUE, first)
    if not re.search(fault.cause, cause, re.DOTALL):
        return Outcome(fault, WRONG, cause)
    if fault.mends and not _mended(runner, step, text):
        return Outcome(fault, UNMENDED, cause)
    return Outcome(fault, RIGHT, cause)


def _mended(runner: Runner, step: Step, text: str) -> bool:
    """Whether the printed commands, one after the other, make the way whole again."""
    for _ in range(ROUNDS):
        command = text.partition("\n  run:   ")[2]
        if not command:
            return False
        typed(runner.context, command)
        if step.diagnoses and not explain(runner.context, step.diagnoses(runner.context)):
            return True
        text = _failure(runner, step) or ""
        if not text:
            return True
    return False


def _failure(runner: Runner, step: Step) -> str | None:
    """What the check of the step says now; None when it passes."""
    try:
        runner.check(step)
    except LabError as error:
        return str(error)
    return None


def _cause(text: str) -> str:
    return text.partition("\n  cause: ")[2].partition("\n  try:")[0].partition("\n  run:")[0]


def typed(lab: LabContext, script: str) -> None:
    """Run lines of bash as in `./lab shell`; what fails is an error of the matrix itself."""
    name, kept = lab.access.name, lab.folder / "faults"
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    variables = {
        **lab.shell_environment(),
        "VAULT_NAME": f"kube-vault-labs-{name}-vault",
        "LAB_UP": f"./lab up --env {name}",
        "KEPT": str(kept),
    }
    bash = ["bash", "-e", "-o", "pipefail", "-c", script]
    try:
        process.run(bash, cwd=CHECKOUT, env=variables, timeout=COMMAND_SECONDS)
    except process.CommandFailed as error:
        pytest.fail(redact(f"{script}\n{error}"))
