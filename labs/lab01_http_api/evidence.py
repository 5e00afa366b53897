"""What Vault's audit log tells a check: who was refused, and with which words.

Values in the log are HMACs. A check that knows a value asks Vault for its HMAC
(`sys/audit-hash`) and looks for that, as step 15 teaches.
"""

from __future__ import annotations

from typing import Any

from harness.lab.api import Entry, LabContext
from harness.lab.kit.tokens import claims

# The audit device of the environment's Vault.
DEVICE = "file"


def audit_hash(lab: LabContext, value: str) -> str:
    """The HMAC that stands in the audit log for this value."""
    answer = lab.http.post(f"/v1/sys/audit-hash/{DEVICE}", json={"input": value})
    return str(answer.json()["data"]["hash"])


def refused(lab: LabContext, path: str, reason: str) -> list[Entry]:
    """The entries that say that a request for `path` was refused for this reason.

    A reason stands in the log in the clear when Vault's core refused, and as an HMAC when the
    engine answered with it; then it must be the whole text.
    """
    digest = audit_hash(lab, reason)
    found = []
    for entry in lab.audit.entries():
        if (entry.get("request") or {}).get("path") != path:
            continue
        answered = ((entry.get("response") or {}).get("data") or {}).get("error")
        if reason in str(entry.get("error", "")) or answered == digest:
            found.append(entry)
    return found


def refused_for_value(lab: LabContext, path: str, value: str, reason: str) -> list[Entry]:
    """The same, for requests that handed in this value."""
    digest = audit_hash(lab, value)
    return [entry for entry in refused(lab, path, reason) if digest in request_values(entry)]


def request_values(entry: Entry) -> list[Any]:
    """The values of a request's fields, as the log has them."""
    return list((entry["request"].get("data") or {}).values())


def claims_of(lab: LabContext, file: str, pod: str = "app") -> dict[str, Any]:
    """The claims of a service-account token in a file of a pod; {} when there is none."""
    return claims(lab.kube.exec(pod, f"cat {file} 2>/dev/null || true").strip())
