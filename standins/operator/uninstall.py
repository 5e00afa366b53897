"""Removes the finalizers that would keep objects from going once the operator is gone.

Upstream runs this as the chart's pre-delete hook; it covers, as there, only auths,
connections, leased secrets and certificates in the operator's own namespace.
"""

from __future__ import annotations

from standins.common.kube import Kube, KubeError
from standins.common.logs import Log
from standins.operator import model

log = Log(__name__)

_KINDS = (model.AUTH, model.CONNECTION, model.DYNAMIC, model.PKI)


async def remove_finalizers(kube: Kube, namespace: str) -> int:
    """How many objects were set free. A refusal is logged, the others are still done."""
    count = 0
    for kind in _KINDS:
        for obj in await kube.list_all(kind, namespace):
            present = model.meta(obj).get("finalizers") or []
            left = [entry for entry in present if entry != model.FINALIZERS[kind]]
            if left == present:
                continue
            change = {"metadata": {"finalizers": left}}
            try:
                await kube.patch(kind, namespace, model.name(obj), change)
                count += 1
            except KubeError as error:
                log.warn("finalizer not removed", kind=kind, name=model.name(obj), error=error)
    log.info("removed finalizers", count=count)
    return count
