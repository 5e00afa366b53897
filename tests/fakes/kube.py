"""The cluster in memory behind the stand-ins' own client, with and without HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from standins.common.account import Access
from standins.common.kube import RESOURCES, Kube, KubeError, Obj
from tests.fakes.kubernetes import MemoryCluster


class MemoryKube(MemoryCluster, Kube):
    """`standins.common.kube.Kube` without a server behind it."""

    def __init__(self, kinds: Mapping[str, str] | None = None, namespace: str = "default") -> None:
        MemoryCluster.__init__(self, {**RESOURCES, **(kinds or {})})
        Kube.__init__(self, Access("memory", namespace=namespace), kinds=kinds)

    async def request(
        self,
        method: str,
        path: str,
        body: Obj | Sequence[Obj] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "",
        accept: str = "",
    ) -> Obj:
        """The cluster's answer, as `Kube.request` would give it."""
        if self.down:
            raise KubeError(0, f"{method} {path}: the API server cannot be asked")
        status, found = self.answer(method, path, body, params)
        if status >= 400:
            raise KubeError(status, found["message"], found["reason"])
        return found


@asynccontextmanager
async def served(cluster: MemoryCluster, seen: list[web.Request]) -> AsyncIterator[str]:
    """The cluster on a port of the loopback; gives its address and remembers what it saw."""

    async def handle(request: web.Request) -> web.Response:
        body: Any = await request.json() if request.body_exists else None
        seen.append(request)
        status, found = cluster.answer(request.method, request.path, body, request.query)
        return web.json_response(found, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
