"""The Kubernetes API over aiohttp, for a pod's own service account.

The official client would cost 20 MiB and a thread a call; the operator needs seven calls.
The token file is read again every minute, because the kubelet rotates it. Outside a pod a
kubeconfig with a bearer token or client certificates is understood (for trying things out).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import yaml

from standins.operator.kube import RESOURCES, KubeError, selector
from standins.operator.model import Obj

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_MAX_AGE = 60.0
_CONNECTIONS = 32
_METADATA_ONLY = "application/json;as={kind};g=meta.k8s.io;v=v1"


@dataclass
class Access:
    """Where the API server is and how to be known to it."""

    server: str
    tls: ssl.SSLContext | None
    token_file: Path | None = None
    token: str = ""

    def __repr__(self) -> str:
        return f"Access(server={self.server!r})"


def in_cluster(account: Path = ACCOUNT) -> Access:
    """The access of a pod's service account."""
    tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
    # The address in the environment works before the cluster's DNS does.
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    shown = f"[{host}]" if ":" in host else host
    return Access(f"https://{shown}:{port}", tls, token_file=account / "token")


def _from_data(entry: Mapping[str, Any], what: str) -> bytes | None:
    if data := entry.get(f"{what}-data"):
        return base64.b64decode(data)
    if path := entry.get(what):
        return Path(path).read_bytes()
    return None


def from_kubeconfig(path: Path) -> Access:
    """The access of a kubeconfig's current context."""
    config = yaml.safe_load(path.read_text())
    by_name = {
        part: {entry["name"]: entry[part.removesuffix("s")] for entry in config[part]}
        for part in ("contexts", "clusters", "users")
    }
    context = by_name["contexts"][config["current-context"]]
    cluster, user = by_name["clusters"][context["cluster"]], by_name["users"][context["user"]]
    authority = _from_data(cluster, "certificate-authority")
    tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, private = _from_data(user, "client-certificate"), _from_data(user, "client-key")
    if certificate and private:
        # The ssl module reads certificates from files only.
        with tempfile.NamedTemporaryFile() as both:
            both.write(certificate + b"\n" + private)
            both.flush()
            tls.load_cert_chain(both.name)
    return Access(cluster["server"], tls, token=user.get("token", ""))


class HttpKube:
    """`kube.KubeApi` on a real API server. Use as an async context manager."""

    def __init__(self, access: Access, *, timeout: float = 30.0) -> None:
        self._access = access
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self._token = access.token
        self._token_read = float("-inf")

    async def __aenter__(self) -> HttpKube:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=self._access.tls or True),
            timeout=self._timeout,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def _headers(self) -> dict[str, str]:
        now = asyncio.get_running_loop().time()
        if self._access.token_file and now - self._token_read > _TOKEN_MAX_AGE:
            text = await asyncio.to_thread(self._access.token_file.read_text)
            self._token, self._token_read = text.strip(), now
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    async def _call(self, method: str, path: str, **options: Any) -> Obj:
        if self._session is None:
            raise RuntimeError("HttpKube is used outside its async with block")
        headers = await self._headers() | options.pop("headers", {})
        url = self._access.server + path
        try:
            async with self._session.request(method, url, headers=headers, **options) as answer:
                text = await answer.text()
                if answer.status < 400:
                    body: Obj = json.loads(text)
                    return body
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KubeError(0, f"{method} {path}: {error or type(error).__name__}") from error
        try:
            refusal = json.loads(text)
            message, reason = refusal.get("message", text), refusal.get("reason", "")
        except ValueError:
            message, reason = text[:200], ""
        raise KubeError(status, message, reason)

    async def get(self, kind: str, namespace: str, name: str) -> Obj:
        """See `KubeApi.get`."""
        return await self._call("GET", _path(kind, namespace, name))

    async def list_all(
        self, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Obj]:
        """See `KubeApi.list_all`."""
        params = {"labelSelector": selector(labels)} if labels else {}
        answer = await self._call("GET", _path(kind, namespace), params=params)
        items: list[Obj] = answer.get("items") or []
        return [{"kind": kind, **item} for item in items]

    async def create(self, kind: str, namespace: str, obj: Obj) -> Obj:
        """See `KubeApi.create`."""
        return await self._call("POST", _path(kind, namespace), json=_whole(kind, obj))

    async def replace(self, kind: str, namespace: str, name: str, obj: Obj) -> Obj:
        """See `KubeApi.replace`."""
        return await self._call("PUT", _path(kind, namespace, name), json=_whole(kind, obj))

    async def patch(
        self, kind: str, namespace: str, name: str, change: Obj, *, subresource: str = ""
    ) -> Obj:
        """See `KubeApi.patch`."""
        path = _path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        headers = {"Content-Type": "application/merge-patch+json"}
        return await self._call("PATCH", path, data=json.dumps(change), headers=headers)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str = "") -> None:
        """See `KubeApi.delete`."""
        body = {"preconditions": {"uid": uid}} if uid else {}
        try:
            await self._call("DELETE", _path(kind, namespace, name), json=body)
        except KubeError as error:
            if not error.not_found:
                raise

    async def service_account_token(
        self, namespace: str, name: str, audiences: list[str], seconds: int
    ) -> str:
        """See `KubeApi.service_account_token`."""
        spec: Obj = {"expirationSeconds": seconds}
        if audiences:
            spec["audiences"] = audiences
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": spec,
        }
        path = _path("ServiceAccount", namespace, name) + "/token"
        answer = await self._call("POST", path, json=request)
        return str(answer["status"]["token"])

    async def list_metadata(self, kind: str, labels: Mapping[str, str]) -> Obj:
        """All objects of a kind with these labels, metadata only (no Secret values)."""
        return await self._call(
            "GET",
            _path(kind),
            params={"labelSelector": selector(labels)},
            headers={"Accept": _METADATA_ONLY.format(kind="PartialObjectMetadataList")},
        )

    async def watch_metadata(
        self, kind: str, labels: Mapping[str, str], since: str, seconds: int = 300
    ) -> AsyncIterator[Obj]:
        """Watch events with metadata only, from resource version `since`; ends by itself."""
        if self._session is None:
            raise RuntimeError("HttpKube is used outside its async with block")
        params = {
            "watch": "true",
            "labelSelector": selector(labels),
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        accept = {"Accept": _METADATA_ONLY.format(kind="PartialObjectMetadata")}
        headers = await self._headers() | accept
        url = self._access.server + _path(kind)
        limit = aiohttp.ClientTimeout(total=seconds + 30)
        try:
            async with self._session.get(
                url, params=params, headers=headers, timeout=limit
            ) as answer:
                if answer.status >= 400:
                    raise KubeError(answer.status, f"watch of {kind} refused")
                async for line in answer.content:
                    event: Obj = json.loads(line)
                    yield event
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KubeError(0, f"watch of {kind}: {error or type(error).__name__}") from error


def _path(kind: str, namespace: str = "", name: str = "") -> str:
    base, plural = RESOURCES[kind]
    parts = [base]
    if namespace:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(plural)
    if name:
        parts.append(quote(name, safe=""))
    return "/".join(parts)


def _whole(kind: str, obj: Obj) -> Obj:
    version = RESOURCES[kind][0].removeprefix("/apis/").removeprefix("/api/")
    return {**obj, "apiVersion": version, "kind": kind}
