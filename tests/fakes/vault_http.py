"""The Vault in memory over real HTTP, on the loopback or a unix socket.

It counts what it is asked, and can be slow, fail or drop connections when a test says so.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from tests.fakes.vault_memory import MemoryVault

# What Vault's answers carry beside their data.
_FRAME = {
    "request_id": "r-1",
    "lease_id": "",
    "renewable": False,
    "lease_duration": 0,
    "warnings": None,
}


class ServedVault(MemoryVault):
    """A Vault whose requests come over HTTP; `base` is the address once it is served.

    `answers` gives whole responses by path, `failures` are statuses of the next requests,
    `drops` the numbers of requests whose connection is cut. With `crowd` nobody is answered
    before so many are waiting.
    """

    def __init__(self, *, clock: float = 1_700_000_000.0) -> None:
        super().__init__(checks_tokens=True, clock=clock)
        self.base = ""
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, web.Response] = {}
        self.delay = 0.0
        self.failures: list[int] = []
        self.drops: set[int] = set()
        self.arrivals = 0
        self.open = 0
        self.crowd = 0
        self._crowded = asyncio.Event()

    @asynccontextmanager
    async def served(self, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[str]:
        """Serve on 127.0.0.1 until the block ends or `stop` is called; gives the address."""
        async with AsyncExitStack() as self._stack:
            runner = await self._stack.enter_async_context(self._runner())
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
            scheme = "https" if tls else "http"
            self.base = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
            yield self.base

    async def stop(self) -> None:
        """End as a process does: connections go, the port is free."""
        await self._stack.aclose()

    @asynccontextmanager
    async def served_on_socket(self, path: str) -> AsyncIterator[None]:
        """Serve on a unix socket, as a Vault agent beside the provider does."""
        async with self._runner() as runner:
            await web.UnixSite(runner, path).start()
            yield

    @asynccontextmanager
    async def _runner(self) -> AsyncIterator[web.AppRunner]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        try:
            yield runner
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.arrivals += 1
        number = self.arrivals
        self.open += 1
        try:
            if self.open >= self.crowd:
                self._crowded.set()
            await self._crowded.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            if number in self.drops:
                assert request.transport is not None
                request.transport.abort()
            if self.failures:
                return web.json_response(
                    {"errors": ["internal error"]}, status=self.failures.pop(0)
                )
            return await self._respond(request)
        finally:
            self.open -= 1

    async def _respond(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        path = request.path.removeprefix("/v1/")
        body = await request.json() if request.body_exists else {}
        token = request.headers.get("X-Vault-Token", "")
        answer = self.answer(request.method, path, body, request.query, token)
        if path in self.answers and answer.status_code != 403:
            ready = self.answers[path]
            # A response object can be sent only once.
            return web.Response(
                body=ready.body, status=ready.status, content_type=ready.content_type
            )
        if answer.status_code == 204:
            return web.Response(status=204)
        found = answer.json()
        if answer.status_code == 200 and found.keys() & {"data", "lease_id"}:
            found = _FRAME | found
        return web.json_response(found, status=answer.status_code)
