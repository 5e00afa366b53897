"""Every error that a person is meant to read, as one tree.

    LabError                 what happened, where, what to do        exit 1
    ├── CheckFailed          an expectation about the state is not met      1
    │   └── CheckUnfinished  the check met an error of its own              1
    ├── UsageError           wrong words on the command line, bad input     2
    ├── EnvironmentLacks     something the machine does not have            3
    │   ├── NotUp            no environment is running under that name      3
    │   └── VaultUnreachable no answer from Vault (harness.clients.vault)      3
    └── GaveUp               a wait reached its limit                       4

The command line prints `what`, `where` and `hint` and exits with `exit_code`
(style.md section 5); none of these ends in a traceback. Anything else that
escapes is a defect of this project.
"""

from __future__ import annotations

from harness.base.paths import INSTALLED
from harness.base.redact import redact


class LabError(Exception):
    """What happened, where it happened and what to do about it."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        # Errors are printed, logged and shown in notebooks: what they say is masked here.
        self.what, self.where, self.hint = redact(what), redact(where), _as_called(redact(hint))
        super().__init__(self.what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  try:   {self.hint}")
        return "\n".join(lines)


def _as_called(hint: str) -> str:
    """The hint with the command's name: an installed package is not called by its path."""
    return hint.replace("./lab ", "lab ") if INSTALLED else hint


class CheckFailed(LabError):
    """A step's check found another state than the step should leave."""


class CheckUnfinished(CheckFailed):
    """A check that could not be finished: what it reads is missing or has another form."""


class UsageError(LabError):
    """The request itself is wrong: an unknown lab, a bad number, a corrupt file."""

    exit_code = 2


class EnvironmentLacks(LabError):
    """The machine lacks something: an engine, disk space, a tool, a kernel feature."""

    exit_code = 3


class NotUp(EnvironmentLacks):
    """The named environment does not exist or does not run."""


class GaveUp(LabError):
    """A wait reached its limit; `what` names the condition that was still blocking."""

    exit_code = 4
