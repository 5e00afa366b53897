"""The port to the Kubernetes API: what the reconcilers ask of it, and nothing else.

`kubehttp.HttpKube` talks to a real API server, the tests hold one in memory. Objects are the
dicts of the wire. Every call raises `KubeError`; callers test `not_found` and `conflict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from standins.operator import model
from standins.operator.model import Obj

# kind -> (API path without the host, plural)
RESOURCES: dict[str, tuple[str, str]] = {
    "Secret": ("/api/v1", "secrets"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Event": ("/api/v1", "events"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "StatefulSet": ("/apis/apps/v1", "statefulsets"),
    "DaemonSet": ("/apis/apps/v1", "daemonsets"),
    "Rollout": ("/apis/argoproj.io/v1alpha1", "rollouts"),
    **{kind: (f"/apis/{model.API_VERSION}", f"{kind.lower()}s") for kind in model.KINDS},
}


class KubeError(Exception):
    """The API server refused, or could not be reached (`status` 0)."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        self.status = status
        self.reason = reason
        super().__init__(message)

    @property
    def not_found(self) -> bool:
        """There is no such object."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Somebody else changed the object in between, or it exists already."""
        return self.status == 409

    @property
    def busy(self) -> bool:
        """Too many requests, or a kind whose storage is not ready yet."""
        return self.status == 429


class KubeApi(Protocol):
    """Get, list, write. `namespace` is required: no resource here is cluster-scoped."""

    async def get(self, kind: str, namespace: str, name: str) -> Obj:
        """The object; KubeError(404) when there is none."""
        ...

    async def list_all(
        self, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Obj]:
        """Objects of a kind, of all namespaces when none is named."""
        ...

    async def create(self, kind: str, namespace: str, obj: Obj) -> Obj:
        """The object as stored; KubeError(409) when it exists."""
        ...

    async def replace(self, kind: str, namespace: str, name: str, obj: Obj) -> Obj:
        """PUT: honours `metadata.resourceVersion` when the object carries one."""
        ...

    async def patch(
        self, kind: str, namespace: str, name: str, change: Obj, *, subresource: str = ""
    ) -> Obj:
        """A JSON merge patch (RFC 7396)."""
        ...

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str = "") -> None:
        """Deletes; with `uid` only that very object. No error when it is gone already."""
        ...

    async def service_account_token(
        self, namespace: str, name: str, audiences: list[str], seconds: int
    ) -> str:
        """A bound token from the TokenRequest API, valid for `seconds`."""
        ...


async def get_or_none(kube: KubeApi, kind: str, namespace: str, name: str) -> Obj | None:
    """The object, or None when there is none; any other failure is raised."""
    try:
        return await kube.get(kind, namespace, name)
    except KubeError as error:
        if error.not_found:
            return None
        raise


def selector(labels: Mapping[str, Any] | None) -> str:
    """A label selector for equality, in the form of the query parameter."""
    return ",".join(f"{key}={value}" for key, value in (labels or {}).items())
