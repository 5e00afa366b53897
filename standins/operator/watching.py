"""Watches: kopf for the custom resources, a metadata-only watch for the Secrets they own.

kopf lists, watches, reconnects and logs in again; its handlers here are raw `on.event`, so it
adds no finalizer and no annotation of its own to anybody's objects. Secrets are watched as
PartialObjectMetadata: their values never reach the operator this way.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import kopf

from standins.common.account import ACCOUNT, Access, NoAccount, in_cluster
from standins.common.kube import Kube, KubeError
from standins.common.logs import Log
from standins.operator import model
from standins.operator.model import Obj

log = Log(__name__)

Seen = Callable[[str, str | None, Obj], None]
_RETRY = 1.0


def access(kubeconfig: str) -> Access:
    """The access of the pod, or of a kubeconfig's current context."""
    if not kubeconfig:
        return in_cluster(os.environ)
    # kopf looks for the file in the environment only.
    os.environ["KUBECONFIG"] = kubeconfig
    found = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    if found is None:
        raise NoAccount(f"{kubeconfig} is no kubeconfig")
    return Access(found.server, found.as_ssl_context(), token=found.token or "")


async def custom_resources(seen: Seen, stop: asyncio.Event, kubeconfig: str) -> None:
    """Tell `seen` of every event of the seven kinds until `stop` is set."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig if kubeconfig else _as_the_pod)
    for kind in model.KINDS:
        _handler(registry, kind, seen)
    settings = kopf.OperatorSettings()
    # No CRD watch (the CRDs are installed with the operator), no peering, no events of kopf's.
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.watching.server_timeout = 300
    await kopf.operator(
        registry=registry, settings=settings, clusterwide=True, standalone=True, stop_flag=stop
    )


def _as_the_pod(**_: Any) -> kopf.ConnectionInfo:
    """kopf calls this again when its token is refused: the kubelet has written a new one."""
    token = (ACCOUNT / "token").read_text("ascii").strip()
    server = in_cluster(os.environ).server
    return kopf.ConnectionInfo(server=server, ca_path=str(ACCOUNT / "ca.crt"), token=token)


def _handler(registry: kopf.OperatorRegistry, kind: str, seen: Seen) -> None:
    group, version, plural = model.RESOURCES[kind].split("/")[2:]

    async def handle(event: Any, **_: Any) -> None:
        seen(kind, event["type"], dict(event["object"]))

    kopf.on.event(group, version, plural, id=kind, registry=registry)(handle)


async def lost_secrets(kube: Kube, lost: Callable[[Obj], None]) -> None:
    """Tell `lost` of every owned Secret that is deleted, until cancelled.

    After a gap in the watch the list is compared with what was known, so that a deletion in
    the gap is told, too.
    """
    known: dict[str, Obj] = {}
    while True:
        try:
            listed = await kube.list_metadata("Secret", model.OWNER_LABELS)
            fresh = {model.uid(item): _slim(item) for item in listed.get("items") or []}
            for uid in known.keys() - fresh.keys():
                lost(known[uid])
            known = fresh
            version = str((listed.get("metadata") or {}).get("resourceVersion", ""))
            await _follow(kube, known, version, lost)
        except KubeError as error:
            if error.status != 410:
                log.info("watch of secrets", error=error)
            await asyncio.sleep(_RETRY)


async def _follow(
    kube: Kube, known: dict[str, Obj], version: str, lost: Callable[[Obj], None]
) -> None:
    while True:
        async for event in kube.watch_metadata("Secret", model.OWNER_LABELS, version):
            obj: Obj = event.get("object") or {}
            change = event.get("type")
            if change == "ERROR":
                raise KubeError(int(obj.get("code") or 0), str(obj.get("message", "")))
            version = str(model.meta(obj).get("resourceVersion") or version)
            if change == "DELETED":
                known.pop(model.uid(obj), None)
                # A Secret that only lost its labels is reported as deleted as well; its owner
                # looks once and finds what it finds.
                lost(obj)
            elif change in ("ADDED", "MODIFIED"):
                known[model.uid(obj)] = _slim(obj)


def _slim(secret: Obj) -> Obj:
    keep = ("namespace", "name", "uid", "ownerReferences")
    return {"metadata": {key: model.meta(secret).get(key) for key in keep}}
