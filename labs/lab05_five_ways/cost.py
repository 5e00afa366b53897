"""What a way costs the node: memory and CPU of its pods, as the kubelet counts them.

The kubelet's summary (`/api/v1/nodes/NODE/proxy/stats/summary`, the source of `kubectl top`) has a
row for each pod and container; no metrics server is needed for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from harness.lab.api import LabContext
from labs.lab05_five_ways.installed import pods_in_cluster
from labs.lab05_five_ways.ways import WAYS, pod_name

# Namespace and name; the kubelet's figures of each.
Pod = tuple[str, str]
Rows = dict[Pod, Any]
MIB, NANO_PER_MILLI = 1024 * 1024, 1_000_000
# The kubelet looks at a new container every 10 to 15 seconds.
FIRST_LOOK_SECONDS = 45.0


def costs(lab: LabContext) -> dict[str, dict[str, float]]:
    """For each way: MiB and thousandths of a core of its pod and of its parts in the cluster.

    The memory is the working set. Waits until the kubelet has counted all of these pods.
    """
    own = {way.name: [(lab.namespace, pod_name(lab, way))] for way in WAYS}
    parts = {way.name: pods_in_cluster(lab, way) for way in WAYS}
    wanted = {pod for pods in (*own.values(), *parts.values()) for pod in pods}
    rows: Rows = lab.wait_for(
        "the kubelet to count the pods",
        lambda: _counted(lab, wanted),
        timeout=FIRST_LOOK_SECONDS,
        every=1.0,
    )
    return {
        way.name: {
            "pod_memory_mib": _memory(rows, own[way.name]),
            "pod_cpu_millicores": _cpu(rows, own[way.name]),
            "cluster_memory_mib": _memory(rows, parts[way.name]),
            "cluster_cpu_millicores": _cpu(rows, parts[way.name]),
        }
        for way in WAYS
    }


def _memory(rows: Rows, pods: Iterable[Pod]) -> float:
    return round(float(sum(rows[pod]["memory"]["workingSetBytes"] for pod in pods)) / MIB, 1)


def _cpu(rows: Rows, pods: Iterable[Pod]) -> float:
    return round(float(sum(rows[pod]["cpu"]["usageNanoCores"] for pod in pods)) / NANO_PER_MILLI, 1)


def _counted(lab: LabContext, wanted: set[Pod]) -> Rows:
    """The rows of these pods; {} while one of them lacks a figure."""
    found = {
        (pod["podRef"]["namespace"], pod["podRef"]["name"]): pod
        for node in lab.kube.list("Node", "")
        for pod in _summary(lab, node["metadata"]["name"])["pods"]
    }
    rows = {key: found.get(key) or {} for key in wanted}
    whole = all(
        "workingSetBytes" in (row.get("memory") or {})
        and "usageNanoCores" in (row.get("cpu") or {})
        for row in rows.values()
    )
    return rows if whole else {}


def _summary(lab: LabContext, node: str) -> dict[str, Any]:
    said = lab.run(f"kubectl get --raw /api/v1/nodes/{node}/proxy/stats/summary")
    return dict(json.loads(said))
