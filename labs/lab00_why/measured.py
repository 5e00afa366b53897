"""The figures of the table "Why Vault", asked of the cluster, of etcd and of Vault, now.

A step that was not done, or was undone, has left nothing that could be asked: its figures are
missing then, and the table says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.lab.api import LabContext
from labs.lab00_why.audit import CLERK, rows_about_etcd
from labs.lab00_why.etcd import READER, names_in_etcd
from labs.lab00_why.freshness import arrival, seconds_to_restart, stale
from labs.lab00_why.people import read_as
from labs.lab00_why.probes import (
    both_doors,
    exact_paths,
    look_into_storage,
    one_place,
    things_that_end,
    traces,
)
from labs.lab00_why.without_get import copies

Facts = dict[str, Any]


def _pods(lab: LabContext, *names: str) -> bool:
    return all(lab.kube.get("Pod", name) for name in names)


def _elsewhere(lab: LabContext) -> Facts:
    done = _pods(lab, "careful")
    return {"copies": copies(lab), "events": len(lab.kube.events("app"))} if done else {}


def _readers(lab: LabContext) -> Facts:
    done = lab.kube.get("ServiceAccount", "lister")
    return {"list_gave": len(read_as(lab, "lister", "list")[0])} if done else {}


def _freshness(lab: LabContext) -> Facts:
    if not _pods(lab, "patient", "nudged"):
        return {}
    return {
        "volume": max(arrival(lab, "patient"), 0.0),
        "restart": seconds_to_restart(lab),
        **stale(lab),
    }


def _etcd(lab: LabContext) -> Facts:
    return {"names": names_in_etcd(lab)} if _pods(lab, READER) else {}


def _audit(lab: LabContext) -> Facts:
    return {"etcd": rows_about_etcd(lab)} if _pods(lab, READER, CLERK) else {}


def _vault(lab: LabContext) -> Facts:
    return {
        "place": one_place(lab),
        "policies": exact_paths(lab),
        "dynamic": things_that_end(lab),
        "transit": both_doors(lab),
        "rest": look_into_storage(lab),
        "audit": traces(lab),
    }


# Which step leaves what a figure is asked of, and the question.
QUESTIONS: Mapping[str, tuple[str, Callable[[LabContext], Facts]]] = {
    "readers": ("00.who_can_read", _readers),
    "elsewhere": ("00.read_without_get", _elsewhere),
    "etcd": ("00.look_into_etcd", _etcd),
    "freshness": ("00.env_volume_subpath", _freshness),
    "audit": ("00.who_read_it", _audit),
    "vault": ("00.why_vault", _vault),
}


def measured(lab: LabContext) -> Facts:
    """Every figure that can be had now."""
    with lab.quiet():
        return {name: question(lab) for name, (_, question) in QUESTIONS.items()}
