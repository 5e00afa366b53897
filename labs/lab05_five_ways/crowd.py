"""Many at once: synced secrets, pods with an agent or a volume. How long, and what Vault has to do.

The pods are made of the templates of the lab's own Deployments, with small requests for CPU: they
only sleep, and a node has room for many.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from harness.lab.api import AuditLog, LabContext, Object
from labs.lab05_five_ways.probes import accessor_of, pod_of, template_of
from labs.lab05_five_ways.ways import OPERATOR, Way, identity, secret_path

# How many are made; with --scale as many as a large namespace has.
SECRETS, SECRETS_AT_SCALE = (5, 20), (10, 100, 500)
PODS, PODS_AT_SCALE = (1, 5), (10, 100)
# In steady state: how many pods of a way, and for how long Vault's audit log is watched.
STEADY_PODS, STEADY_SECONDS = (1, 20), 120.0
CROWD_SECONDS = 1200.0
LABEL = "crowd"
SMALL = {
    "vault.hashicorp.com/agent-requests-cpu": "1m",
    "vault.hashicorp.com/agent-requests-mem": "8Mi",
}


def crowd_of_secrets(lab: LabContext, count: int) -> dict[str, Any]:
    """Have the operator sync so many secrets: seconds until each is there, requests to Vault."""
    original = lab.kube.get("VaultStaticSecret", OPERATOR.name) or {}
    names = {f"{LABEL}-{number:03}" for number in range(count)}

    def resource(name: str) -> Object:
        spec = {**original["spec"], "destination": {"name": name, "create": True}}
        spec.pop("rolloutRestartTargets", None)
        # The first sync is measured: a second one must not disturb it.
        spec["refreshAfter"] = "1h"
        return {
            "apiVersion": original["apiVersion"],
            "kind": "VaultStaticSecret",
            "metadata": {"name": name, "labels": {LABEL: "yes"}},
            "spec": spec,
        }

    def there() -> set[str]:
        return {str(one["metadata"]["name"]) for one in lab.kube.list("Secret")} & names

    row = _measured(lab, OPERATOR, [resource(name) for name in sorted(names)], there)
    lab.run(f"kubectl delete vaultstaticsecret -l {LABEL} --wait=false", timeout=300)
    lab.wait_for("the secrets to be gone", lambda: not there(), timeout=CROWD_SECONDS, every=1.0)
    return row


def crowd_of_pods(lab: LabContext, way: Way, count: int) -> dict[str, Any]:
    """Make so many pods of a way at once: seconds until each runs, requests to Vault."""
    row = _measured(lab, way, _pods(lab, way, count), lambda: _ready(lab))
    _remove_pods(lab)
    return row


def steady_requests(lab: LabContext, way: Way, count: int) -> int:
    """How many requests an hour Vault answers for so many pods of a way, by two minutes.

    The Deployment's own pod is one of them.
    """
    _measured(lab, way, _pods(lab, way, count - 1), lambda: _ready(lab))
    log = AuditLog(lab.access.audit_log, lab.audit.mark())
    lab.pause(STEADY_SECONDS, "Vault to be asked")
    asked = _requests(lab, way, log)
    _remove_pods(lab)
    return round(asked * 3600 / STEADY_SECONDS)


def _requests(lab: LabContext, way: Way, log: AuditLog) -> int:
    """What Vault answered to those who have read the secret of a way: reads, logins, renewals."""
    answered = [entry for entry in log if entry["type"] == "response" and identity(entry)]
    path = secret_path(lab, way)
    readers = {accessor_of(entry) for entry in answered if entry["request"]["path"] == path}
    return sum(1 for entry in answered if accessor_of(entry) in readers)


def _pods(lab: LabContext, way: Way, count: int) -> list[Object]:
    template, labels = template_of(lab, way), {LABEL: "yes"}
    return [pod_of(template, f"{LABEL}-{n:03}", labels, SMALL) for n in range(count)]


def _ready(lab: LabContext) -> set[str]:
    """The names of the pods of the crowd that are ready."""
    return {
        str(pod["metadata"]["name"])
        for pod in lab.kube.list("Pod", selector=LABEL)
        for condition in (pod.get("status") or {}).get("conditions") or []
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def _measured(
    lab: LabContext, way: Way, objects: list[Object], there: Callable[[], set[str]]
) -> dict[str, Any]:
    """Create all objects with one command; note when each is there. Seconds from the command."""
    if not objects:
        return {}
    log = AuditLog(lab.access.audit_log, lab.audit.mark())
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    began, seen = time.monotonic(), dict[str, float]()

    def all_there() -> bool:
        now = time.monotonic() - began
        for name in there():
            seen.setdefault(name, round(now, 1))
        return len(seen) == len(objects)

    lab.run("kubectl create -f -", stdin=manifest, timeout=300)
    lab.wait_for(f"{len(objects)} to be there", all_there, timeout=CROWD_SECONDS, every=0.5)
    times, total = sorted(seen.values()), max(seen.values())
    requests = _requests(lab, way, log)
    return {
        "count": len(objects),
        "seconds": total,
        "p50_seconds": round(statistics.median(times), 1),
        "p99_seconds": times[min(len(times) - 1, int(len(times) * 0.99))],
        "requests": requests,
        "requests_per_minute": round(requests * 60 / max(total, 0.5)),
    }


def _remove_pods(lab: LabContext) -> None:
    lab.run(f"kubectl delete pod -l {LABEL} --now --wait=false", timeout=300)
    lab.wait_for(
        "the crowd to be gone",
        lambda: not lab.kube.list("Pod", selector=LABEL),
        timeout=CROWD_SECONDS,
        every=1.0,
    )
