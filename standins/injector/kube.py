"""The two objects beside the Lease that the injector keeps in the cluster.

A Secret shares the serving certificate between replicas, and the webhook configuration
carries the CA bundle that the API server trusts. Every write names the version it was
made from, so that of two writers one is refused. All errors are KubeError.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from standins.common.kube import Kube
from standins.injector.certificates import KeyPair
from standins.injector.pod import JsonObject

CERT_SECRET = "vault-injector-certs"  # noqa: S105 - the Secret's name, not a secret
LEASE = "vault-k8s-leader"
LABELS = {"app.kubernetes.io/managed-by": "kube-vault-labs"}
_CONFIGURATION = "MutatingWebhookConfiguration"


@dataclass(frozen=True)
class Webhooks:
    """A webhook configuration: whom each of its webhooks trusts."""

    bundles: tuple[bytes, ...]
    version: str


@dataclass(frozen=True)
class SharedPair:
    """The certificate in the Secret; `pair` is None when it holds nothing usable."""

    pair: KeyPair | None
    version: str


class Cluster:
    """What certificate keeping needs of a cluster."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace

    async def webhooks(self, name: str) -> Webhooks | None:
        """The webhook configuration; None when there is none."""
        found = await self._kube.find(_CONFIGURATION, "", name)
        if found is None:
            return None
        return Webhooks(
            bundles=tuple(
                _decoded(each["clientConfig"].get("caBundle"))
                for each in found.get("webhooks") or []
            ),
            version=found["metadata"]["resourceVersion"],
        )

    async def publish(self, name: str, seen: Webhooks, bundle: bytes) -> None:
        """Write the CA bundle into every webhook of the configuration that was seen."""
        text = base64.b64encode(bundle).decode()
        patch: list[JsonObject] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": seen.version}
        ]
        for number in range(len(seen.bundles)):
            path = f"/webhooks/{number}/clientConfig/caBundle"
            patch.append({"op": "add", "path": path, "value": text})
        await self._kube.patch(_CONFIGURATION, "", name, patch)

    async def shared_pair(self) -> SharedPair | None:
        """The shared certificate; None when the Secret does not exist."""
        found = await self._kube.find("Secret", self._namespace, CERT_SECRET)
        if found is None:
            return None
        data = found.get("data") or {}
        pair = KeyPair(_decoded(data.get("cert")), _decoded(data.get("key")))
        return SharedPair(pair if pair.readable else None, found["metadata"]["resourceVersion"])

    async def share(self, pair: KeyPair, seen: SharedPair | None) -> None:
        """Write the shared certificate over the one that was seen."""
        metadata: JsonObject = {"name": CERT_SECRET, "labels": LABELS}
        data = {
            "cert": base64.b64encode(pair.cert).decode(),
            "key": base64.b64encode(pair.key).decode(),
        }
        body: JsonObject = {"metadata": metadata, "type": "Opaque", "data": data}
        if seen is None:
            await self._kube.create("Secret", self._namespace, body)
            return
        metadata["resourceVersion"] = seen.version
        await self._kube.replace("Secret", self._namespace, CERT_SECRET, body)


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(text) if isinstance(text, str) else b""
    except binascii.Error:
        return b""
