"""The three objects the injector keeps in the cluster, read and written.

A Secret shares the serving certificate between replicas, a Lease says which replica
makes certificates, and the webhook configuration carries the CA bundle that the API
server trusts. Every write names the version it was made from, so that of two writers
one gets Conflict. The official client does the transport: its token, its CA.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from kubernetes.aio.client import ApiClient, ApiException

from standins.injector.certificates import KeyPair
from standins.injector.pod import JsonObject

CERT_SECRET = "vault-injector-certs"  # noqa: S105 - the Secret's name, not a secret
LEASE = "vault-k8s-leader"
LABELS = {"app.kubernetes.io/managed-by": "kube-vault-labs"}
TIMEOUT = 10.0
JSON_PATCH = "application/json-patch+json"


class ClusterError(Exception):
    """The API server did not answer, or refused."""


class Conflict(ClusterError):
    """Somebody else wrote the object first."""


@dataclass(frozen=True)
class Webhooks:
    """A webhook configuration: what the webhooks are called and whom they trust."""

    names: tuple[str, ...]
    bundles: tuple[bytes, ...]
    version: str


@dataclass(frozen=True)
class SharedPair:
    """The certificate in the Secret; `pair` is None when it holds nothing usable."""

    pair: KeyPair | None
    version: str


@dataclass(frozen=True)
class LeaseRecord:
    """The Lease: who leads, and the version that changes whenever they renew."""

    holder: str
    transitions: int
    version: str


class Cluster(Protocol):
    """What certificate keeping needs of a cluster; tests have one in memory."""

    async def webhooks(self, name: str) -> Webhooks | None:
        """The webhook configuration; None when there is none."""

    async def publish(self, name: str, seen: Webhooks, bundle: bytes) -> None:
        """Write the CA bundle into every webhook of the configuration."""

    async def shared_pair(self) -> SharedPair | None:
        """The shared certificate; None when the Secret does not exist."""

    async def share(self, pair: KeyPair, seen: SharedPair | None) -> None:
        """Write the shared certificate over the one that was seen."""

    async def lease(self) -> LeaseRecord | None:
        """The Lease; None when there is none."""

    async def hold(self, holder: str, seconds: int, now: str, seen: LeaseRecord | None) -> None:
        """Write the Lease: `holder` leads for `seconds` from `now` (RFC 3339)."""


class KubeCluster:
    """Cluster over the Kubernetes API. All errors are ClusterError."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self._api = api
        self._secrets = f"/api/v1/namespaces/{namespace}/secrets"
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._webhooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"

    async def webhooks(self, name: str) -> Webhooks | None:
        """See Cluster."""
        found = await self._call("GET", f"{self._webhooks}/{name}")
        if found is None:
            return None
        hooks = found.get("webhooks") or []
        return Webhooks(
            names=tuple(each["name"] for each in hooks),
            bundles=tuple(_decoded(each["clientConfig"].get("caBundle")) for each in hooks),
            version=found["metadata"]["resourceVersion"],
        )

    async def publish(self, name: str, seen: Webhooks, bundle: bytes) -> None:
        """See Cluster. The configuration must still be the one that was seen."""
        text = base64.b64encode(bundle).decode()
        patch: list[JsonObject] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": seen.version}
        ]
        for number in range(len(seen.names)):
            path = f"/webhooks/{number}/clientConfig/caBundle"
            patch.append({"op": "add", "path": path, "value": text})
        if await self._call("PATCH", f"{self._webhooks}/{name}", patch, JSON_PATCH) is None:
            raise Conflict(f"the webhook configuration {name} is gone")

    async def shared_pair(self) -> SharedPair | None:
        """See Cluster."""
        found = await self._call("GET", f"{self._secrets}/{CERT_SECRET}")
        if found is None:
            return None
        data = found.get("data") or {}
        pair = KeyPair(_decoded(data.get("cert")), _decoded(data.get("key")))
        return SharedPair(pair if pair.readable else None, found["metadata"]["resourceVersion"])

    async def share(self, pair: KeyPair, seen: SharedPair | None) -> None:
        """See Cluster."""
        data = {
            "cert": base64.b64encode(pair.cert).decode(),
            "key": base64.b64encode(pair.key).decode(),
        }
        body = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data}
        await self._write(self._secrets, CERT_SECRET, body, seen.version if seen else None)

    async def lease(self) -> LeaseRecord | None:
        """See Cluster."""
        found = await self._call("GET", f"{self._leases}/{LEASE}")
        if found is None:
            return None
        spec = found.get("spec") or {}
        return LeaseRecord(
            holder=spec.get("holderIdentity") or "",
            transitions=spec.get("leaseTransitions") or 0,
            version=found["metadata"]["resourceVersion"],
        )

    async def hold(self, holder: str, seconds: int, now: str, seen: LeaseRecord | None) -> None:
        """See Cluster."""
        spec: JsonObject = {
            "holderIdentity": holder,
            "leaseDurationSeconds": seconds,
            "renewTime": now,
            "leaseTransitions": seen.transitions if seen else 0,
        }
        if seen is None or seen.holder != holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] += 1 if seen else 0
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
        await self._write(self._leases, LEASE, body, seen.version if seen else None)

    async def _write(self, path: str, name: str, body: JsonObject, version: str | None) -> None:
        metadata: JsonObject = {"name": name, "labels": LABELS}
        if version is None:
            await self._call("POST", path, body | {"metadata": metadata})
            return
        metadata["resourceVersion"] = version
        if await self._call("PUT", f"{path}/{name}", body | {"metadata": metadata}) is None:
            raise Conflict(f"{name} is gone")

    async def _call(
        self,
        method: str,
        path: str,
        body: JsonObject | Sequence[JsonObject] | None = None,
        content_type: str = "application/json",
    ) -> JsonObject | None:
        """The JSON answer; None for 404. Raises Conflict or ClusterError."""
        try:
            request = await self._api.param_serialize(
                method,
                path,
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(*request, _request_timeout=TIMEOUT)
            content: bytes = await response.read()  # type: ignore[no-untyped-call]  # it has none
        except (ApiException, aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise ClusterError(f"{method} {path}: {reason}") from error
        if response.status == 404:
            return None
        if response.status >= 400:
            # 422 is what a JSON Patch whose `test` failed is answered with.
            kind = Conflict if response.status in (409, 422) else ClusterError
            raise kind(f"{method} {path}: {response.status} {_message(content)}")
        try:
            answer: JsonObject = json.loads(content)
        except ValueError as error:
            raise ClusterError(f"{method} {path}: the answer is not JSON") from error
        return answer


def _message(content: bytes) -> str:
    try:
        status: Any = json.loads(content)
        return str(status["message"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(text) if isinstance(text, str) else b""
    except binascii.Error:
        return b""
