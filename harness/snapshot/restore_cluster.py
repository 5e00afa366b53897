"""Carrying out one action of a reset in the cluster.

Pods are deleted without a grace period: a lab's pods hold nothing that must be written
before they end. A custom resource gets a moment for its operator to clean up; then its
finalizers are removed, as the operator may be gone or Vault may refuse it.
"""

from __future__ import annotations

from typing import Any

from harness.base.errors import GaveUp, LabError
from harness.base.paths import PROJECT
from harness.base.wait import wait_for
from harness.clients.kube import KubeRefused, Object
from harness.snapshot.cluster import ClusterState
from harness.snapshot.copies import SecretCopies
from harness.snapshot.model import Item
from harness.snapshot.plan import Action

FINALIZER_SECONDS = 1.5


def perform(action: Action, cluster: ClusterState) -> str:
    """Do `action`; return a sentence that says what was done. Raises LabError."""
    if action.before is None:
        assert action.after is not None
        return _remove(action.after, cluster)
    wanted = _manifest(action.before, cluster.copies)
    if action.after is None:
        _create(action.before, wanted, cluster)
    else:
        _replace(action.before, wanted, cluster)
    return str(action)


def announce(action: Action, cluster: ClusterState) -> None:
    """Ask for the removal of a custom resource without waiting for its finalizers."""
    body = {"propagationPolicy": "Background"}
    cluster.ask("DELETE", action.item.path, body, allow=(404, 409))


def _remove(item: Item, cluster: ClusterState) -> str:
    body: Object = {"propagationPolicy": "Background"}
    if item.noun == "Pod":
        body["gracePeriodSeconds"] = 0
    status, answer = cluster.ask("DELETE", item.path, body, allow=(404, 409))
    # The answer is the object itself, not a Status, when finalizers still hold it.
    if item.kind == "custom" and status != 404 and answer.get("kind") != "Status":
        try:
            wait_for(
                f"{item} to be gone",
                lambda: cluster.ask("GET", item.path, allow=(404,))[0] == 404,
                timeout=FINALIZER_SECONDS,
                every=0.1,
            )
        except GaveUp:
            cluster.ask(
                "PATCH",
                item.path,
                {"metadata": {"finalizers": None}},
                allow=(404,),
                content="application/merge-patch+json",
            )
            return f"removed {item}, without waiting for its finalizers"
    return f"removed {item}"


def _manifest(item: Item, copies: SecretCopies) -> Object:
    value: Any = copies.find(item.sum) if item.kept else item.copy
    if value is None:
        raise LabError(
            f"{item} cannot be put back: no copy of it is left in Vault",
            where=item.path,
            hint="./lab reset of the whole lab",
        )
    return dict(value)


def _create(item: Item, wanted: Object, cluster: ClusterState) -> None:
    collection = item.path.rsplit("/", 1)[0]
    cluster.ask("POST", f"{collection}?fieldManager={PROJECT}", wanted)


def _replace(item: Item, wanted: Object, cluster: ClusterState) -> None:
    """Write `wanted` over the present object; recreate it where the API does not allow that."""
    status, present = cluster.ask("GET", item.path, allow=(404,))
    if status == 404:
        _create(item, wanted, cluster)
        return
    body = {**wanted, "metadata": {**present["metadata"], **_decided(wanted)}}
    body["metadata"].pop("managedFields", None)
    if item.noun == "Service":
        allotted = ("clusterIP", "clusterIPs", "healthCheckNodePort")
        kept = {k: present["spec"][k] for k in allotted if k in present["spec"]}
        body["spec"] = {**kept, **wanted["spec"]}
    if item.noun == "Namespace":
        body["spec"] = present.get("spec")
    if item.noun == "PersistentVolumeClaim" and "volumeName" in present["spec"]:
        body["spec"] = {**wanted["spec"], "volumeName": present["spec"]["volumeName"]}
    try:
        cluster.ask("PUT", f"{item.path}?fieldManager={PROJECT}", body)
    except KubeRefused as refused:
        if refused.status != 422:  # immutable fields, as most of a pod
            raise
        _remove(item, cluster)
        _create(item, wanted, cluster)


def _decided(wanted: Object) -> Object:
    """Labels and annotations as they were; others are removed."""
    metadata = wanted["metadata"]
    return {field: metadata.get(field) or {} for field in ("labels", "annotations")}
