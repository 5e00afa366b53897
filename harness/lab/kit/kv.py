"""What a check asks of a lab's key/value engine: a value that a step has written to Vault.

Steps that are typed make their secrets themselves, so a check reads them where they are. It
compares fingerprints and shows no value.
"""

from __future__ import annotations

from harness.base.redact import Secret
from harness.lab.context import LabContext


def stored(lab: LabContext, name: str, field: str = "password", version: int = 0) -> Secret:
    """A field of a secret below `lab.path("kv")`, "" when Vault has none; 0 is the present version.

    Vault answers 404 for a path that is not there, is deleted, or is below no engine.
    """
    address = f"/v1/{lab.path('kv', 'data', name)}?version={version}"
    answer = (lab.http.get(address, allow={404}).json().get("data") or {}).get("data") or {}
    return Secret(str(answer.get(field, "")))


def stored_sum(lab: LabContext, name: str, field: str = "password", version: int = 0) -> str:
    """The SHA-256 of such a field, "none" when Vault has none: it equals that of no file."""
    value = stored(lab, name, field, version)
    return lab.fingerprint(value) if value else "none"
