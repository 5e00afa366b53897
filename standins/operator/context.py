"""What every reconciler works with, and the two writes that all of them make.

`Context` bundles the ports; `report` writes status and conditions (and only when something
changed), `add_finalizer` and `release` guard deletion. No decision about secrets is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from standins.common.kube import Kube, KubeError
from standins.common.logs import Log
from standins.operator import conditions, model
from standins.operator.clients import ClientCache, ClientRefused
from standins.operator.conditions import Condition
from standins.operator.connections import Connections
from standins.operator.drift import Fingerprints
from standins.operator.events import Recorder
from standins.operator.gotemplate import TemplateEngine
from standins.operator.leases import LeaseKeeper
from standins.operator.model import Key, Obj, Reason
from standins.operator.references import Resolver
from standins.operator.store import Store
from standins.operator.timing import Backoff
from standins.operator.vaultclient import View

log = Log(__name__)

# Its text could hold anything; the log of the operator has it with its trace.
_DEFECT = "{0.__class__.__name__} in the operator, see its log"


@dataclass
class Context:
    """The ports and the little state that reconcilers share."""

    kube: Kube
    store: Store
    resolver: Resolver
    connections: Connections
    clients: ClientCache
    recorder: Recorder
    fingerprints: Fingerprints
    leases: LeaseKeeper
    backoff: Backoff
    templates: TemplateEngine
    operator_namespace: str
    pod_uid: str = ""
    exclude_raw: bool = False
    # Told of each SecretTransformation whose new content is valid.
    transformed: Callable[[Key], None] = lambda _: None
    # Keys whose next reconcile must sync: annotations, labels, transformations, lost tokens.
    forced: set[Key] = field(default_factory=set)

    def find(self, key: Key) -> Obj | None:
        """The object of `key` as last seen."""
        return self.store.get(key.kind, key.namespace, key.name)

    def failed(self, key: Key, error: Exception) -> None:
        """An event for an error that no reconciler turned into one: nobody reads the log."""
        obj = self.find(key)
        # A conflict is somebody else's write, and the next try comes in a second.
        if obj is None or (isinstance(error, KubeError) and error.conflict):
            return
        words = str(error) if isinstance(error, KubeError) else _DEFECT.format(error)
        text = f"Failed to handle the resource: {words}"
        self.recorder.event(obj, Reason.K8S_CLIENT_ERROR, text, warning=True)


# What the schema of a kind requires in a status; the zero values of upstream's fields.
_REQUIRED: dict[str, dict[str, Any]] = {
    model.STATIC: {"lastGeneration": 0},
    model.DYNAMIC: {
        "lastGeneration": 0,
        "lastRenewalTime": 0,
        "secretLease": {"id": "", "duration": 0, "renewable": False, "requestID": ""},
    },
    model.PKI: {"error": "", "lastGeneration": 0, "lastRotation": 0, "valid": False},
}


async def client_for(context: Context, obj: Obj) -> View:
    """The logged-in client for `obj`. ClientRefused, after an event when a reference fails.

    Upstream's client factory reports such a failure, and its caller does so once more.
    """
    try:
        return await context.clients.get(obj)
    except ClientRefused as error:
        if error.missing:
            text = f"Failed to get cacheKey from obj, err={error}"
            context.recorder.event(obj, Reason.UNRECOVERABLE, text, warning=True)
        raise


def _timeless(status: dict[str, Any]) -> dict[str, Any]:
    listed = status.get("conditions") or []
    return {
        **status,
        "conditions": [
            {key: value for key, value in entry.items() if key != "lastTransitionTime"}
            for entry in listed
        ],
    }


async def report(
    context: Context,
    obj: Obj,
    changes: dict[str, Any],
    *updates: Condition,
    healthy: bool,
    restarted: Sequence[Condition] = (),
) -> Obj:
    """Write `changes` and conditions to the status, then make sure of the finalizer.

    Returns the object as it is now. An unchanged status is not written. A refused write
    becomes a StatusUpdateError event and is raised: the reconcile runs again.
    """
    before = model.status(obj)
    found = [*updates, *restarted, *conditions.health(obj, healthy)]
    after = {**_REQUIRED.get(obj["kind"], {}), **before, **changes}
    after["conditions"] = conditions.merged(before.get("conditions") or [], found)
    if _timeless(after) != _timeless(before):
        obj = await _patch_status(context, obj, after)
    return await add_finalizer(context, obj)


async def _patch_status(context: Context, obj: Obj, status: dict[str, Any]) -> Obj:
    kind, namespace, name = obj["kind"], model.namespace(obj), model.name(obj)
    gone = {key: None for key in model.status(obj) if key not in status}
    try:
        now = await context.kube.patch(
            kind, namespace, name, {"status": {**gone, **status}}, subresource="status"
        )
    except KubeError as error:
        if error.not_found:
            context.store.forget(model.key_of(kind, obj), model.uid(obj))
            return obj
        context.recorder.event(
            obj,
            Reason.STATUS_UPDATE_ERROR,
            f"Failed to update the resource's status, err={error}",
            warning=True,
        )
        raise
    return remember(context, kind, now)


def remember(context: Context, kind: str, obj: Obj) -> Obj:
    """Put a write's answer into the store; the object with its kind."""
    whole = {**obj, "kind": kind}
    context.store.put(kind, whole)
    return whole


async def add_finalizer(context: Context, obj: Obj) -> Obj:
    """The object with its kind's finalizer, if the kind has one and it is not going away."""
    finalizer = model.FINALIZERS.get(obj["kind"])
    present = model.meta(obj).get("finalizers") or []
    if finalizer is None or finalizer in present or model.deleting(obj):
        return obj
    return await _set_finalizers(context, obj, [*present, finalizer])


async def release(context: Context, obj: Obj) -> None:
    """Remove the finalizer: the object may go."""
    finalizer = model.FINALIZERS.get(obj["kind"])
    present = model.meta(obj).get("finalizers") or []
    if finalizer in present:
        left = [entry for entry in present if entry != finalizer]
        await _set_finalizers(context, obj, left)


async def _set_finalizers(context: Context, obj: Obj, finalizers: list[str]) -> Obj:
    kind = obj["kind"]
    # With the version in it the patch fails when somebody else's finalizer came in between.
    version = model.meta(obj).get("resourceVersion")
    change = {"metadata": {"finalizers": finalizers, "resourceVersion": version}}
    try:
        now = await context.kube.patch(kind, model.namespace(obj), model.name(obj), change)
    except KubeError as error:
        if error.not_found:
            context.store.forget(model.key_of(kind, obj), model.uid(obj))
            return obj
        if error.conflict:
            fresh = await context.kube.get(kind, model.namespace(obj), model.name(obj))
            remember(context, kind, fresh)
        raise
    return remember(context, kind, now)
