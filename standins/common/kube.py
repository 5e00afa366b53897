"""The Kubernetes API with a pod's own account: objects as the dicts of the wire.

The official client costs 20 MiB of image, up to 190 MB of memory and seconds of start; the
stand-ins need ten calls, by aiohttp. The tests replace `Kube.request` by a cluster in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp

from standins.common import gojson
from standins.common.account import Access

Obj = dict[str, Any]

_CONNECTIONS = 32
# Beyond the seconds that a watch was asked to last.
_WATCH_SLACK = 30.0
_JSON = "application/json"
_METADATA_ONLY = _JSON + ";as={kind};g=meta.k8s.io;v=v1"

# kind -> the path of its collections, without "namespaces/NAME"
RESOURCES = {
    "Secret": "/api/v1/secrets",
    "ServiceAccount": "/api/v1/serviceaccounts",
    "Event": "/api/v1/events",
    "Lease": "/apis/coordination.k8s.io/v1/leases",
    "Deployment": "/apis/apps/v1/deployments",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "DaemonSet": "/apis/apps/v1/daemonsets",
    "MutatingWebhookConfiguration": (
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    ),
}


class KubeError(Exception):
    """The API server refused, or could not be reached (`status` 0). `str()` is its own text."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def not_found(self) -> bool:
        """There is no such object."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Another writer was first, or the object exists already."""
        return self.status == 409

    @property
    def busy(self) -> bool:
        """Too many requests, or a kind whose storage is not ready yet."""
        return self.status == 429


class Kube:
    """The API as one account sees it. Use as an async context manager."""

    def __init__(
        self, access: Access, *, kinds: Mapping[str, str] | None = None, timeout: float = 15.0
    ) -> None:
        """`kinds` are paths of custom resources, as in RESOURCES; `timeout` is in seconds."""
        self.namespace = access.namespace
        self._resources = {**RESOURCES, **(kinds or {})}
        self._access = access
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Kube:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=self._access.tls or True),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def get(self, kind: str, namespace: str, name: str) -> Obj:
        """The object; KubeError(404) when there is none."""
        return await self.request("GET", self._named(kind, namespace, name))

    async def find(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object, or None when there is none."""
        try:
            return await self.get(kind, namespace, name)
        except KubeError as error:
            if error.not_found:
                return None
            raise

    async def list_all(
        self, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Obj]:
        """Objects of a kind, of all namespaces when none is named."""
        params = {"labelSelector": _selector(labels)} if labels else None
        answer = await self.request("GET", self._path(kind, namespace), params=params)
        items: list[Obj] = answer.get("items") or []
        return [{"kind": kind, **item} for item in items]

    async def create(self, kind: str, namespace: str, obj: Obj) -> Obj:
        """The object as stored; KubeError(409) when it exists."""
        return await self.request("POST", self._path(kind, namespace), self._whole(kind, obj))

    async def replace(self, kind: str, namespace: str, name: str, obj: Obj) -> Obj:
        """PUT: honours `metadata.resourceVersion` when the object carries one."""
        return await self.request("PUT", self._named(kind, namespace, name), self._whole(kind, obj))

    async def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        change: Obj | Sequence[Obj],
        *,
        subresource: str = "",
    ) -> Obj:
        """A JSON merge patch (RFC 7396), or a JSON patch (RFC 6902) when `change` is a list."""
        path = self._named(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        form = "merge-patch" if isinstance(change, dict) else "json-patch"
        return await self.request("PATCH", path, change, content_type=f"application/{form}+json")

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str = "") -> None:
        """Deletes; with `uid` only that very object. No error when it is gone already."""
        body = {"preconditions": {"uid": uid}} if uid else {}
        try:
            await self.request("DELETE", self._named(kind, namespace, name), body)
        except KubeError as error:
            if not error.not_found:
                raise

    async def service_account_token(
        self,
        namespace: str,
        name: str,
        audiences: Sequence[str],
        seconds: int,
        bound_to: Obj | None = None,
    ) -> str:
        """A token from the TokenRequest API, valid for `seconds` and as long as `bound_to`."""
        spec: Obj = {"expirationSeconds": seconds, "audiences": list(audiences)}
        if bound_to:
            spec["boundObjectRef"] = bound_to
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = self._named("ServiceAccount", namespace, name) + "/token"
        answer = await self.request("POST", path, body)
        try:
            return str(answer["status"]["token"])
        except (KeyError, TypeError):
            raise KubeError(0, "the answer holds no token") from None

    async def list_metadata(self, kind: str, labels: Mapping[str, str]) -> Obj:
        """All objects of a kind with these labels, metadata only (no Secret values)."""
        return await self.request(
            "GET",
            self._path(kind),
            params={"labelSelector": _selector(labels)},
            accept=_METADATA_ONLY.format(kind="PartialObjectMetadataList"),
        )

    async def watch_metadata(
        self, kind: str, labels: Mapping[str, str], since: str, seconds: int = 300
    ) -> AsyncIterator[Obj]:
        """Watch events with metadata only, from resource version `since`; ends by itself."""
        params = {
            "watch": "true",
            "labelSelector": _selector(labels),
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        accept = _METADATA_ONLY.format(kind="PartialObjectMetadata")
        what = f"watch of {kind}"
        limit = seconds + _WATCH_SLACK
        try:
            async with self._open(
                "GET", self._path(kind), limit, params=params, accept=accept
            ) as answer:
                if answer.status >= 400:
                    raise KubeError(answer.status, f"{what} refused")
                async for line in answer.content:
                    event: Obj = gojson.parse(line)
                    yield event
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise KubeError(0, f"{what}: {error or type(error).__name__}") from None

    async def request(
        self,
        method: str,
        path: str,
        body: Obj | Sequence[Obj] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Obj:
        """The answer's JSON object. Raises KubeError; a server's page is never quoted in it."""
        what = f"{method} {path}"
        data = None if body is None else gojson.dumps(body).encode()
        try:
            async with self._open(
                method,
                path,
                self._timeout,
                params=params,
                accept=accept,
                data=data,
                content_type=content_type,
            ) as answer:
                text = await answer.read()
        except TimeoutError:
            raise KubeError(
                0, f"{what}: the API server did not answer within {self._timeout:.0f}s"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise KubeError(
                0, f"{what}: the API server cannot be asked: {type(error).__name__}"
            ) from None
        found = gojson.parsed_object(text)
        if 200 <= answer.status < 300 and found is not None:
            return found
        found = found or {}
        problem = f"{what}: the API server answered {answer.status} {answer.reason}"
        if answer.status < 300:
            raise KubeError(0, f"{problem} with something else than JSON")
        raise KubeError(
            answer.status, str(found.get("message") or problem), str(found.get("reason") or "")
        )

    def _open(
        self,
        method: str,
        path: str,
        seconds: float,
        *,
        params: Mapping[str, str] | None,
        accept: str,
        data: bytes | None = None,
        content_type: str = "",
    ) -> Any:
        if self._session is None:
            raise RuntimeError("Kube is used outside its async with block")
        headers = {"Accept": accept} | ({} if data is None else {"Content-Type": content_type})
        # Read for each request: the kubelet writes a new token now and again.
        file = self._access.token_file
        if token := file.read_text("ascii").strip() if file else self._access.token:
            headers["Authorization"] = f"Bearer {token}"
        return self._session.request(
            method,
            self._access.server + path,
            params=params,
            data=data,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=seconds),
            allow_redirects=False,
        )

    def _path(self, kind: str, namespace: str = "") -> str:
        base, _, plural = self._resources[kind].rpartition("/")
        if namespace:
            base += f"/namespaces/{quote(namespace, safe='')}"
        return f"{base}/{plural}"

    def _named(self, kind: str, namespace: str, name: str) -> str:
        if not name:
            # Without a name the path would be that of all objects.
            raise KubeError(404, f"a {kind} without a name")
        return f"{self._path(kind, namespace)}/{quote(name, safe='')}"

    def _whole(self, kind: str, obj: Obj) -> Obj:
        version = self._resources[kind].rpartition("/")[0].split("/", 2)[2]
        return {**obj, "apiVersion": version, "kind": kind}


def _selector(labels: Mapping[str, str]) -> str:
    """A label selector for equality, in the form of the query parameter."""
    return ",".join(f"{key}={value}" for key, value in labels.items())
