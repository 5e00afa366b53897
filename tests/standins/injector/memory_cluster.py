"""The cluster in memory as the injector's tests look at it."""

from __future__ import annotations

import base64
from typing import Any

from standins.injector.certificates import KeyPair
from standins.injector.kube import CERT_SECRET, LEASE, Cluster
from tests.fakes.kube import MemoryKube
from tests.fakes.kubernetes import Refused

CONFIG = "vault-agent-injector-cfg"
NAMESPACE = "vi"
_KIND = "MutatingWebhookConfiguration"


class InjectorCluster(MemoryKube):
    """A webhook configuration of two webhooks, and what was written about certificates."""

    def __init__(self, *, configured: bool = True) -> None:
        super().__init__(namespace=NAMESPACE)
        self.conflicts = 0
        """How many of the next writes of the configuration or the Secret lose."""
        self.log: list[str] = []
        self.before_write = self._lose
        self.watchers.append(self._note)
        self.view = Cluster(self, NAMESPACE)
        if configured:
            self.configure(b"", None)

    def configure(self, *bundles: bytes | None) -> None:
        """Write the configuration with these CA bundles, by somebody else."""
        hooks: list[dict[str, Any]] = []
        for number, bundle in enumerate(bundles):
            trust = {} if bundle is None else {"caBundle": base64.b64encode(bundle).decode()}
            hooks.append({"name": f"hook-{number}", "clientConfig": {"service": {}, **trust}})
        self.objects.pop((_KIND, "", CONFIG), None)
        self.add(_KIND, "", {"metadata": {"name": CONFIG}, "webhooks": hooks})

    @property
    def hooks(self) -> list[dict[str, Any]]:
        """The webhooks of the configuration; none without one."""
        return list(self.objects.get((_KIND, "", CONFIG), {}).get("webhooks", ()))

    @property
    def bundle(self) -> bytes:
        """The CA bundle, which must be the same in all webhooks."""
        (found,) = {hook["clientConfig"].get("caBundle", "") for hook in self.hooks} or {""}
        return base64.b64decode(found)

    @property
    def shared(self) -> KeyPair | None:
        """The certificate in the Secret."""
        data = self.objects.get(("Secret", NAMESPACE, CERT_SECRET), {}).get("data")
        return (
            KeyPair(*(base64.b64decode(data[name]) for name in ("cert", "key"))) if data else None
        )

    @property
    def lease(self) -> dict[str, Any]:
        """What the Lease says."""
        return dict(self.objects["Lease", NAMESPACE, LEASE]["spec"])

    def _note(self, kind: str, change: str, obj: Any) -> None:
        if kind == _KIND and change == "MODIFIED":
            self.log.append("publish")
        elif kind == "Secret" and change != "DELETED":
            self.log.append("share")

    def _lose(self, verb: str, kind: str, name: str) -> None:
        if self.conflicts and kind != "Lease":
            self.conflicts -= 1
            raise Refused(409, "the object has been modified", "Conflict")
