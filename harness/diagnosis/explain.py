"""Which link between a pod and its secret is broken, with evidence: the reason for a hint.

A log-in is a chain: Vault is reachable, trusted and unsealed; the auth method exists and
may ask the cluster; the role names the account and the audience; its policies name the
path; the secret exists. A refusal at the end rarely says which link broke ("permission
denied"). `diagnose` tests them in that order with probes of its own and removes every
probe again. It never reads a secret as the pod's account, because the checks read in
Vault's audit log which account did. The links are in harness.diagnosis.server, environment,
integrations, login, reviewer, limits, policy, resources and pods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.base.errors import CheckFailed, CheckUnfinished, LabError
from harness.base.redact import redact
from harness.diagnosis import (
    environment,
    integrations,
    limits,
    login,
    pods,
    policy,
    resources,
    server,
)
from harness.diagnosis.chain import Chain, Finding
from harness.lab.login_path import LoginPath

if TYPE_CHECKING:
    from harness.lab.context import LabContext
    from harness.lab.steps import Step

__all__ = ["Finding", "LoginPath", "add_cause", "diagnose", "explain", "first_cause"]

LINKS = (
    *server.LINKS,
    *environment.VAULT_LINKS,
    *environment.CLUSTER_LINKS,
    *integrations.LINKS,
    *login.LINKS,
    limits.tokens_are_of_use,
    pods.token_is_alive,
    *policy.LINKS,
    *resources.LINKS,
    *pods.LINKS,
)


def diagnose(lab: LabContext, login: LoginPath) -> list[Finding]:
    """Test the links of `login` in order; what cannot be tested any more is left out.

    Leaves nothing behind. Raises LabError only when a probe itself could not be made or
    removed.
    """
    chain = Chain(lab, login)
    with lab.quiet():
        for link in LINKS:
            finding = link(chain)
            if finding is None:
                continue
            chain.found.append(finding)
            # Behind a server that does not answer there is nothing to ask.
            if not finding.ok and link in (*server.LINKS, environment.shell_token_works):
                break
    return chain.found


def first_cause(findings: Sequence[Finding]) -> Finding | None:
    """The first broken link; when none is broken the first remark; else None."""
    broken = [finding for finding in findings if not finding.ok]
    remarks = [finding for finding in findings if finding.ok and finding.hint]
    return next(iter(broken + remarks), None)


def explain(lab: LabContext, login: LoginPath) -> str:
    """The first broken link in one sentence with its evidence; "" when the chain is whole."""
    cause = first_cause(diagnose(lab, login))
    return redact(f"{cause.link}: {cause.evidence}") if cause else ""


def add_cause(error: LabError, lab: LabContext, step: Step) -> None:
    """Put the first broken link into a failed check's text, and what to do into its hint.

    A step that names no path of its own is diagnosed when its check could not even be
    finished: is Vault down, sealed, not to be trusted? A remark is added only to a check
    without a hint: it may be about something else. When the diagnosis itself fails, the
    failure stays what it was.
    """
    finished = isinstance(error, CheckFailed) and not isinstance(error, CheckUnfinished)
    if step.diagnoses is None and finished:
        return
    try:
        login = step.diagnoses(lab) if step.diagnoses else LoginPath()
        cause = first_cause(diagnose(lab, login))
    except Exception as failed:  # a diagnosis that fails must not hide the failure itself
        error.what += redact(f"\n  cause: not found ({type(failed).__name__}: {failed})")
        return
    if cause is None or (cause.ok and error.hint):
        return
    error.what += redact(f"\n  cause: {cause.link}: {cause.evidence}")
    error.hint = redact(cause.hint) or error.hint
    if cause.run:
        first, *more = cause.run.splitlines()
        # Continued lines stay as they are: what stands here is pasted.
        error.hint = "\n".join([f"{error.hint}\n  run:   {first}", *more])
