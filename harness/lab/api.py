"""The names that a lab is written with, beside `Lab` and `expect`.

A lab imports from harness.lab and from nowhere else in the harness: what lies below may
move without touching a lab. What only some labs need is in harness.lab.kit.
"""

from __future__ import annotations

from harness.base.errors import GaveUp, UsageError
from harness.base.paths import PROJECT
from harness.base.process import CommandFailed
from harness.base.redact import Secret, redact
from harness.clients.kube import REQUEST_SECONDS, KubeRefused, Object
from harness.clients.kube_objects import KubeUnreachable
from harness.clients.vault_audit import AuditLog, Entry
from harness.lab.context import LabContext
from harness.lab.login_path import LoginPath
from harness.lab.steps import Lab, Step, expect

__all__ = [
    "PROJECT",
    "REQUEST_SECONDS",
    "AuditLog",
    "CommandFailed",
    "Entry",
    "GaveUp",
    "KubeRefused",
    "KubeUnreachable",
    "Lab",
    "LabContext",
    "LoginPath",
    "Object",
    "Secret",
    "Step",
    "UsageError",
    "expect",
    "redact",
]
