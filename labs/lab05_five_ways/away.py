"""What happens to each way while something is away: read off pods, files and Vault's audit log.

`begun` is called while it is away, `ended` when it has come back. What was seen goes to
results.json; no value of a secret passes through it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.lab.api import GaveUp, KubeRefused, KubeUnreachable, LabContext, Object
from labs.lab05_five_ways.probes import (
    Waiting,
    look_at_all,
    opened,
    store_all,
    wait_for_all,
)
from labs.lab05_five_ways.results import EMPTY, keep, load, print_table
from labs.lab05_five_ways.ways import WAYS, Way, holds_the_password

# So long is looked on before it is brought back, and so long is waited for the pods after it.
LOOK_SECONDS, WELL_SECONDS = 6.0, 180.0
WORKS, ENDED, STARTS, WAITS, FAILS = "works on", "has ended", "starts", "waits", "fails"
NEVER = "never by itself"


@dataclass
class Outage:
    """One outage: its name, what was seen of each way so far, passwords that are on their way."""

    name: str
    seen: dict[str, dict[str, Any]]
    waiting: dict[str, Waiting] | None = None


def new_pod(outage: str, way: Way) -> str:
    """The name of the pod that is made of a way's template during an outage."""
    return f"{outage}-{way.name}"


def begun(lab: LabContext, outage: str, change: bool) -> Outage:
    """Look at running and new pods while something is away; with `change` store new passwords."""
    waiting = store_all(lab) if change else None
    lab.pause(LOOK_SECONDS, "what waits, and what goes on")
    seen = {
        way.name: {
            "running": WORKS if holds_the_password(lab, way) else ENDED,
            "new_pod": STARTS if opened(lab, new_pod(outage, way)) else WAITS,
        }
        for way in WAYS
    }
    if waiting:
        look_at_all(lab, waiting)
        for way in WAYS:
            arrived = waiting[way.name].change.file is not None
            seen[way.name]["change"] = WORKS if arrived else WAITS
    return Outage(outage, seen, waiting)


def ended(lab: LabContext, outage: Outage) -> None:
    """Wait until all is well again, keep what was seen and when, print it, and remove the pods."""
    back = time.time()
    waiting = outage.waiting or store_all(lab)
    ended_ways = [way for way in WAYS if outage.seen[way.name]["running"] == ENDED]
    wait_for_all(
        lab,
        waiting,
        nudge=not lab.full,
        also=lambda: _all_open(lab, outage.seen, ended_ways, since=back),
    )
    for way in WAYS:
        one, name = outage.seen[way.name], new_pod(outage.name, way)
        late = waiting[way.name].since + (waiting[way.name].change.file or 0.0) - back
        one["change_well_after_seconds"] = max(0.0, round(late, 1))
        well = _opens_at_last(lab, way, name)
        if not well:
            one["new_pod"], one["new_pod_well_after_seconds"] = FAILS, None
        else:
            one["new_pod_well_after_seconds"] = max(0.0, round(well - back, 1))
    lab.run(f"kubectl delete pod -l outage={outage.name} --now")
    _keep(lab, outage.name, outage.seen)


def _all_open(
    lab: LabContext, seen: dict[str, dict[str, Any]], ways: Sequence[Way], since: float
) -> bool:
    """Note which of these ways' shops have their password again; whether all have."""
    for way in ways:
        one = seen[way.name]
        if "running_well_after_seconds" not in one and holds_the_password(lab, way):
            one["running_well_after_seconds"] = round(time.time() - since, 1)
    return all("running_well_after_seconds" in seen[way.name] for way in ways)


def _opens_at_last(lab: LabContext, way: Way, name: str) -> float:
    """When the shop of a new pod had its password; 0 for a pod that can never have it."""
    if _has_nothing_to_wait_for(lab, way, name):
        return 0.0
    try:
        return lab.wait_for(
            f"the shop of {name} to open", lambda: opened(lab, name), timeout=WELL_SECONDS
        )
    except GaveUp:
        return 0.0


def _has_nothing_to_wait_for(lab: LabContext, way: Way, name: str) -> bool:
    """Whether a pod was let into the cluster without the agent that its annotations ask for."""
    pod = lab.kube.get("Pod", name) or {}
    asked = "vault.hashicorp.com/agent-inject" in _annotations(pod)
    beside = [one["name"] for one in (pod.get("spec") or {}).get("containers") or []]
    return asked and "vault-agent" not in beside


def _annotations(pod: Object) -> dict[str, Any]:
    return (pod.get("metadata") or {}).get("annotations") or {}


def restarted(lab: LabContext, since: float) -> None:
    """After the node's restart: note when the shop of each way had its password again."""
    seen: dict[str, dict[str, Any]] = {way.name: {"running": ENDED} for way in WAYS}
    lab.wait_for(
        "the shop of each way to be open again",
        lambda: _all_open(lab, seen, WAYS, since),
        timeout=WELL_SECONDS,
        every=1.0,
        transient=(KubeRefused, KubeUnreachable),
    )
    _keep(lab, "node", seen)


def _keep(lab: LabContext, outage: str, seen: dict[str, dict[str, Any]]) -> None:
    """Write down what was seen of one outage, beside what was seen of others, and print it."""
    keep(lab, outages=(load(lab).get("outages") or {}) | {outage: seen})
    show(seen)


def show(seen: dict[str, dict[str, Any]]) -> None:
    """Print what was seen of one outage."""
    rows = {
        "a running pod": "running",
        "well after, s": "running_well_after_seconds",
        "a new pod": "new_pod",
        "has its secret after, s": "new_pod_well_after_seconds",
        "a change": "change",
        "arrives after, s": "change_well_after_seconds",
    }
    print_table(
        [
            (title, [_cell(seen[way.name], key) for way in WAYS])
            for title, key in rows.items()
            if any(key in one for one in seen.values())
        ]
    )


def _cell(one: dict[str, Any], key: str) -> str:
    value = one.get(key, EMPTY)
    return NEVER if value is None else f"{value:g}" if isinstance(value, float) else str(value)
