"""Kubernetes Events about custom resources, without flooding the API server.

An event that repeats word for word raises the count of the one that is there; an object that
produces very many loses the surplus (25 at once, then one in five minutes, the limits that
`kubectl describe` users know). Writing happens beside the reconcile, never before it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Protocol

from standins.common.kube import Kube, KubeError
from standins.common.logs import Log
from standins.operator import model
from standins.operator.conditions import timestamp
from standins.operator.model import Obj

log = Log(__name__)

_REMEMBERED = 1024
_BURST = 25.0
_REFILL_SECONDS = 300.0
_QUEUE = 1000


class Recorder(Protocol):
    """Where reconcilers report to."""

    def event(self, obj: Obj, reason: str, message: str, *, warning: bool = False) -> None:
        """Record one event about `obj`; never raises and never waits."""
        ...


class KubeRecorder:
    """`Recorder` that writes core/v1 Events. `run()` does the writing."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._queue: asyncio.Queue[tuple[Obj, str, str, bool]] = asyncio.Queue(_QUEUE)
        # (uid, reason, message) -> (event name, count)
        self._seen: OrderedDict[tuple[str, str, str], tuple[str, int]] = OrderedDict()
        # uid -> (tokens, monotonic time of the last refill)
        self._budget: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def event(self, obj: Obj, reason: str, message: str, *, warning: bool = False) -> None:
        """See `Recorder.event`. A full queue drops the event and says so in the log."""
        slim = {"kind": obj.get("kind"), "metadata": model.meta(obj)}
        try:
            self._queue.put_nowait((slim, reason, message, warning))
        except asyncio.QueueFull:
            log.warn("event dropped", reason=reason, name=model.name(obj))

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            obj, reason, message, warning = await self._queue.get()
            try:
                await self._write(obj, reason, message[:1024], warning)
            except KubeError as error:
                # A namespace that is going away takes no events: that is no news.
                say = log.debug if error.status in (403, 404) else log.info
                say("event not written", reason=reason, error=error)

    def _allowed(self, uid: str) -> bool:
        now = time.monotonic()
        tokens, since = self._budget.pop(uid, (_BURST, now))
        tokens = min(_BURST, tokens + (now - since) / _REFILL_SECONDS)
        allowed = tokens >= 1
        self._budget[uid] = (tokens - 1 if allowed else tokens, now)
        while len(self._budget) > _REMEMBERED:
            self._budget.popitem(last=False)
        return allowed

    async def _write(self, obj: Obj, reason: str, message: str, warning: bool) -> None:
        uid = model.uid(obj)
        if not self._allowed(uid):
            return
        key, namespace = (uid, reason, message), model.namespace(obj)
        name, count = self._seen.pop(key, ("", 0))
        if name:
            change = {"count": count + 1, "lastTimestamp": timestamp()}
            try:
                await self._kube.patch("Event", namespace, name, change)
                self._seen[key] = (name, count + 1)
                return
            except KubeError as error:
                # Events live an hour; a new one takes its place.
                if not error.not_found:
                    raise
        name = f"{model.name(obj)}.{time.time_ns():x}"
        body = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": model.API_VERSION,
                "kind": obj.get("kind"),
                "namespace": namespace,
                "name": model.name(obj),
                "uid": uid,
                "resourceVersion": model.meta(obj).get("resourceVersion", ""),
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": timestamp(),
            "lastTimestamp": timestamp(),
            "source": {"component": obj.get("kind")},
            "reportingComponent": obj.get("kind"),
            "reportingInstance": "",
        }
        await self._kube.create("Event", namespace, body)
        self._seen[key] = (name, 1)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
