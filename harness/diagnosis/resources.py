"""The link of the operator's custom resources: what the operator itself says of each.

The operator writes conditions, `status.error` and events; a resource that is wrong is named there
(interfaces.md section 8). The first that is not in order is the cause, in the order in which they
depend on each other; what hangs on it fails because of it.
"""

from __future__ import annotations

import re
from typing import Any

from harness.diagnosis import commands
from harness.diagnosis.chain import Chain, Finding, Link
from harness.diagnosis.pods import meaning
from harness.integrations.operator import API

# Each after what it depends on.
KINDS = (
    "VaultConnection",
    "VaultAuthGlobal",
    "VaultAuth",
    "SecretTransformation",
    "VaultStaticSecret",
    "VaultDynamicSecret",
    "VaultPKISecret",
)
_TROUBLE = re.compile(r"\w*(Error|Failed|Invalid|Missing|NotFound|Unrecoverable|Collision)\w*:")


def resources_are_in_order(chain: Chain) -> Finding | None:
    """The operator has no complaint about any custom resource of the namespace."""
    if "operator" not in chain.lab.lab.needs:
        return None
    for kind in KINDS:
        for found in chain.lab.kube.list(kind, chain.namespace, api_version=API):
            name = found["metadata"]["name"]
            said = _complaint(chain, found)
            if said:
                hint = meaning(said) or commands.kubectl(chain, "describe", kind.lower(), name)
                return Finding(kind, False, f"{name}: {said}", hint)
    return Finding("custom resources", True, "the operator has no complaint")


def _complaint(chain: Chain, found: dict[str, Any]) -> str:
    """What the operator says against the resource as it is now; "" when it is content."""
    meta, status = found["metadata"], found.get("status") or {}
    if meta.get("deletionTimestamp"):
        return ""
    if status.get("valid") is False or status.get("error"):
        return str(status.get("error") or "invalid")
    bad = [
        f"{one.get('reason')}: {one.get('message')}"
        for one in status.get("conditions") or []
        if one.get("status") == "False"
    ]
    if not bad and (status.get("conditions") or status.get("valid")):
        return ""
    events = chain.lab.kube.events(meta["name"], chain.namespace, meta.get("uid", ""))
    if events and _TROUBLE.match(events[-1]):
        return events[-1]
    return bad[0] if bad else ""


LINKS: tuple[Link, ...] = (resources_are_in_order,)
