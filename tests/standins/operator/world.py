"""One operator with an in-memory cluster and a Vault on the loopback, driven step by step.

`run` calls the reconciler of one object, as a worker would; nothing runs by itself, so a test
sees each step. The store follows the cluster through the same triggers as in a pod.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from standins.operator import configs, dynamic, model, options, pki, static
from standins.operator.model import Key, Obj
from standins.operator.runtime import Operator
from tests.fakes.kube import MemoryKube
from tests.standins.operator.fakevault import FakeVault

HOME = "vso"
APP = "apps"

RECONCILERS = {
    model.CONNECTION: configs.connection,
    model.AUTH: configs.auth,
    model.AUTH_GLOBAL: configs.auth_global,
    model.TRANSFORMATION: configs.transformation,
    model.STATIC: static.reconcile,
    model.DYNAMIC: dynamic.reconcile,
    model.PKI: pki.reconcile,
}


class Events:
    """A recorder that remembers."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, str, bool]] = []

    def event(self, obj: Obj, reason: str, message: str, *, warning: bool = False) -> None:
        self.all.append((model.name(obj), reason, message, warning))

    def reasons(self, name: str = "") -> list[str]:
        return [reason for its, reason, _, _ in self.all if name in ("", its)]

    def text(self, reason: str) -> str:
        return next(message for _, its, message, _ in reversed(self.all) if its == reason)


class World:
    """The parts, and short words for what tests do with them."""

    def __init__(self, kube: MemoryKube, vault: FakeVault, pod: str, grace: float) -> None:
        self.kube = kube
        self.vault = vault
        self.pod = pod
        environ = {"OPERATOR_NAMESPACE": HOME, "OPERATOR_POD_UID": pod}
        argv = [f"--superseded-lease-grace={int(grace)}s"]
        self.operator = Operator(kube, options.read(argv, environ))
        self.context = self.operator.context
        self.events = Events()
        self.context.recorder = self.events
        self._watcher = self.operator.triggers.seen
        kube.watchers.append(self._follow)

    def _follow(self, kind: str, change: str, obj: Obj) -> None:
        if kind in model.KINDS:
            self._watcher(kind, change, obj)
        elif kind == "Secret" and change == "DELETED":
            self.operator.triggers.destination_lost(obj)

    async def stop(self, *, kill: bool = False) -> None:
        """End this process; the cluster and Vault live on."""
        self.kube.watchers.remove(self._follow)
        await self.operator.close()

    async def run(self, kind: str, name: str, namespace: str = APP) -> float | None:
        return await RECONCILERS[kind](self.context, Key(kind, namespace, name))

    def make(self, kind: str, name: str, spec: dict[str, Any], namespace: str = APP) -> Obj:
        return self.kube.add(kind, namespace, {"metadata": {"name": name}, "spec": spec})

    def obj(self, kind: str, name: str, namespace: str = APP) -> Obj:
        return self.kube.objects[kind, namespace, name]

    def status(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.obj(kind, name).get("status") or {}
        return found

    def condition(self, kind: str, name: str, which: str) -> dict[str, Any]:
        listed = self.status(kind, name).get("conditions") or []
        return next((entry for entry in listed if entry["type"] == which), {})

    def secret(self, name: str, namespace: str = APP) -> dict[str, str]:
        data = self.kube.objects["Secret", namespace, name].get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def queued(self, kind: str, name: str) -> bool:
        controller = self.operator.controllers[kind]
        key = Key(kind, APP, name)
        return key in controller._waiting or key in controller._timers

    def drain(self) -> None:
        """Forget what is queued, to see what a later event queues."""
        for controller in self.operator.controllers.values():
            while not controller._ready.empty():
                controller._ready.get_nowait()
            controller._waiting.clear()
            for timer in controller._timers.values():
                timer.cancel()
            controller._timers.clear()

    def ready(self) -> None:
        """A connection, an auth for everybody and the app's service account."""
        self.make(model.CONNECTION, "default", {"address": self.vault.base}, HOME)
        self.make(
            model.AUTH,
            "default",
            {
                "vaultConnectionRef": "default",
                "method": "kubernetes",
                "mount": "kubernetes",
                "kubernetes": {"role": "app", "serviceAccount": "app"},
            },
            HOME,
        )
        self.make("ServiceAccount", "app", {})

    def static(self, name: str = "config", **spec: Any) -> Obj:
        destination = {"name": name, "create": True} | spec.pop("destination", {})
        base = {"mount": "kv", "type": "kv-v2", "path": "app", "destination": destination}
        return self.make(model.STATIC, name, base | spec)

    def dynamic(self, name: str = "db", **spec: Any) -> Obj:
        destination = {"name": name, "create": True} | spec.pop("destination", {})
        base = {"mount": "database", "path": "creds/app", "destination": destination}
        return self.make(model.DYNAMIC, name, base | spec)

    def certificate(self, name: str = "web", **spec: Any) -> Obj:
        destination = {"name": name, "create": True} | spec.pop("destination", {})
        base = {"mount": "pki", "role": "web", "commonName": "web.test", "destination": destination}
        return self.make(model.PKI, name, base | spec)


@asynccontextmanager
async def world(
    vault: FakeVault | None = None, *, grace: float = 0, pod: str = "pod-1"
) -> AsyncIterator[World]:
    """A ready world; its operator is closed at the end."""
    vault = vault or FakeVault(clock=time.time())
    async with vault.served():
        made = World(MemoryKube(model.RESOURCES), vault, pod, grace)
        made.ready()
        try:
            yield made
        finally:
            await made.operator.close()


async def restarted(old: World, pod: str, *, grace: float = 0) -> World:
    """The same cluster and Vault with a new operator process."""
    await old.stop()
    fresh = World(old.kube, old.vault, pod, grace)
    await fresh.operator.prime()
    await fresh.operator.leases.load()
    return fresh


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Run one asynchronous test."""

    async def limited() -> None:
        async with asyncio.timeout(20):
            await scene()

    asyncio.run(limited())


def parsed(text: str) -> Any:
    """JSON with ordinary numbers."""
    return json.loads(text)
