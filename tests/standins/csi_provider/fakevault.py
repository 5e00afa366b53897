"""A Vault of a few lines, served over real HTTP in the test's own event loop.

It logs service accounts in by a table of tokens, checks client tokens and policies,
keeps KV v2 versions, hands out leases and issues "certificates" by PUT. It counts what
it is asked, and can be told to be slow, to fail or to drop connections.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

ROLE = "app"
KV: dict[str, list[dict[str, Any]]] = {
    "app": [{"user": "ada", "password": "canary-one"}, {"user": "ada", "password": "canary-two"}],
    "types": [
        {
            "number": 7,
            "fraction": 1.10,
            "list": [1, "two", None],
            "map": {"b": "<&>", "a": True},
            "text": "grüße",
            "b64": "aGVsbG8=",
            "hex": "68656c6c6f",
        }
    ],
}


class FakeVault:
    """State and counters; `base` is the address once it is served."""

    def __init__(self) -> None:
        self.base = ""
        self.accounts = {"jwt-app": "app"}
        self.bound = {ROLE: {"app"}}
        self.mounts = {"kubernetes"}
        self.forbidden: set[str] = set()
        self.tokens: set[str] = set()
        self.logins: list[dict[str, Any]] = []
        self.reads: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, web.Response] = {}
        self.delay = 0.0
        self.failures: list[int] = []
        self.drops: set[int] = set()
        self.requests = 0
        self.open = 0
        self.crowd = 0
        self._crowded = asyncio.Event()
        self._serial = itertools.count(1)

    def expire_tokens(self) -> None:
        """Forget every client token, as a restart or a revocation does."""
        self.tokens.clear()

    @asynccontextmanager
    async def served(self, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[str]:
        """Serve on 127.0.0.1 until the block ends; gives the address."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        self.base = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self.base
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def served_on_socket(self, path: str) -> AsyncIterator[None]:
        """Serve on a unix socket, as a Vault agent beside the provider does."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        await web.UnixSite(runner, path).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        number = self.requests
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
                return _errors(self.failures.pop(0), "internal error")
            return await self._answer(request)
        finally:
            self.open -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        path = request.path.removeprefix("/v1/")
        if path.startswith("auth/") and path.endswith("/login"):
            return self._login(
                path.removeprefix("auth/").removesuffix("/login"), await request.json()
            )
        if request.headers.get("X-Vault-Token") not in self.tokens:
            return _errors(403, "permission denied")
        self.reads[f"{request.method} {request.path_qs}"] += 1
        if path in self.forbidden:
            return _errors(403, "1 error occurred:\n\t* permission denied\n\n")
        if path in self.answers:
            return _copy(self.answers[path])
        if path.startswith("secret/data/"):
            return self._kv(path.removeprefix("secret/data/"), request.query.get("version"))
        if path == "database/creds/ro":
            serial = next(self._serial)
            data = {"username": f"v-ro-{serial}", "password": f"pw-{serial}"}
            return _secret(data, lease_id=f"database/creds/ro/{serial}", lease_duration=3600)
        if path == "pki/issue/web":
            if request.method not in ("PUT", "POST"):
                return _errors(405, "unsupported operation")
            return _secret({"certificate": f"CERT {(await request.json())['common_name']}"})
        return _errors(404)

    def _login(self, mount: str, body: dict[str, Any]) -> web.Response:
        self.logins.append({"mount": mount, **body})
        if mount not in self.mounts:
            return _errors(403, "permission denied")
        if body["role"] not in self.bound:
            return _errors(400, f'invalid role name "{body["role"]}"')
        account = self.accounts.get(body["jwt"])
        if account is None:
            return _errors(403, "permission denied")
        if account not in self.bound[body["role"]]:
            return _errors(403, "service account name not authorized")
        token = f"token-{next(self._serial)}"
        self.tokens.add(token)
        return web.json_response({"auth": {"client_token": token, "lease_duration": 3600}})

    def _kv(self, name: str, version: str | None) -> web.Response:
        versions = KV.get(name)
        if versions is None:
            return _errors(404)
        number = int(version or len(versions))
        metadata = {"version": number, "destroyed": False}
        return _secret({"data": versions[number - 1], "metadata": metadata})


def _secret(data: dict[str, Any], **rest: Any) -> web.Response:
    frame = {"request_id": "r-1", "lease_id": "", "renewable": False, "lease_duration": 0}
    return web.json_response({**frame, "data": data, "warnings": None, **rest})


def _errors(status: int, *lines: str) -> web.Response:
    return web.json_response({"errors": list(lines)}, status=status)


def _copy(answer: web.Response) -> web.Response:
    """A response object can be sent only once."""
    return web.Response(body=answer.body, status=answer.status, content_type=answer.content_type)
