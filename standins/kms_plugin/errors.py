"""What goes wrong, each with the gRPC status that kube-apiserver gets for it.

    Problem
    ├── Unreachable       Vault is sealed, gone or out of order         UNAVAILABLE
    ├── Slow              no answer in time                             DEADLINE_EXCEEDED
    ├── Denied            no permission, or no login                    PERMISSION_DENIED
    ├── Absent            the key or its mount is not in Vault          FAILED_PRECONDITION
    ├── Outdated          the key is there, the version is not          FAILED_PRECONDITION
    ├── Unsuitable        the key cannot do this work                   FAILED_PRECONDITION
    ├── NotOurs           this request is none of this plugin's         INVALID_ARGUMENT
    └── Refused           Vault takes the request for a wrong one       INVALID_ARGUMENT

The text of each says what happened, where and what to do; it ends up in kube-apiserver's
answers and logs, so none holds a plaintext, a ciphertext, a token or a login's IDs.
"""

from __future__ import annotations

import grpc


class Problem(Exception):
    """A call cannot be answered; `str()` is one sentence for people."""

    code: grpc.StatusCode = grpc.StatusCode.INTERNAL


class Unreachable(Problem):
    """Vault is sealed, does not answer, or answers with nothing of use."""

    code = grpc.StatusCode.UNAVAILABLE


class Slow(Problem):
    """There was no answer in time."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Denied(Problem):
    """Vault knows who asks and does not allow it, or it does not accept the login."""

    code = grpc.StatusCode.PERMISSION_DENIED


class Absent(Problem):
    """Vault has no such key or no such mount: what it encrypted is lost."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Outdated(Problem):
    """The version of the key is no longer allowed, or it is another key's."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Unsuitable(Problem):
    """The key exists and is of a kind that cannot be used here."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class NotOurs(Problem):
    """Something in the request shows that it is not for this plugin."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class Refused(Problem):
    """Vault answered 400; the text is its own, without the values that were sent."""

    code = grpc.StatusCode.INVALID_ARGUMENT


def defect(operation: str, error: Exception) -> Problem:
    """The answer for an exception that nobody foresaw.

    Its message may quote a value, so only its kind and the place it came from are told.
    """
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}" if trace else "?"
    return Problem(
        f"{operation} failed by a defect of the plugin: {type(error).__name__} in {where}"
    )
