"""Links of what a lab needs beside Vault and the cluster: is each integration there, and ready?

Before anything of a learner is looked at: without its driver, its webhook or its controller,
nothing that a person writes can work. What must be there, each integration says itself
(harness.integrations.base.ClusterObject).
"""

from __future__ import annotations

from typing import Any

from harness import integrations
from harness.diagnosis import commands
from harness.diagnosis.chain import Chain, Finding, Link
from harness.integrations.base import ClusterObject

# Where a workload says how many pods it wants, and how many are ready.
WANTED = {
    "DaemonSet": ("status", "desiredNumberScheduled", "numberReady"),
    "Deployment": ("spec", "replicas", "readyReplicas"),
}


def integrations_work(chain: Chain) -> Finding | None:
    """Every integration that the lab needs has its objects, and its pods are ready."""
    needs = chain.lab.lab.needs
    objects = [(need, one) for need in needs for one in integrations.find(need).objects]
    if not objects:
        return None
    for need, one in objects:
        found = chain.lab.kube.get(one.kind, one.name, one.namespace)
        problem = _problem(one, found)
        if problem:
            return Finding(
                f"integration {need}",
                False,
                problem,
                "./lab up puts back what an integration consists of",
                commands.up(chain),
            )
    listed = ", ".join(dict.fromkeys(need for need, _ in objects))
    return Finding("integrations", True, f"{listed}: there and ready")


def _problem(one: ClusterObject, found: dict[str, Any] | None) -> str:
    where = f"{one.kind} {one.name}" + (f" in {one.namespace}" if one.namespace else "")
    if not found:
        return f"there is no {where}"
    if one.kind not in WANTED:
        return ""
    place, wanted_name, ready_name = WANTED[one.kind]
    wanted = int((found.get(place) or {}).get(wanted_name) or 0)
    ready = int((found.get("status") or {}).get(ready_name) or 0)
    if not wanted:
        return f"the {where} wants no pod: it was scaled to none, or no node fits it"
    return f"of the pods of {where} {ready} of {wanted} are ready" if ready < wanted else ""


LINKS: tuple[Link, ...] = (integrations_work,)
