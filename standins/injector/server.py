"""The HTTPS side: /mutate, /health/ready and, where asked for, the metrics.

Anybody in the cluster can reach the port, so what a caller can make the process hold is
bounded: the size of one body, the sum of the bodies being read, and the time to read
one. Bodies are decided about one after the other on the event loop; a decision takes
about a millisecond.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from standins.common.logs import Log
from standins.injector.metrics import Metrics
from standins.injector.review import Decision, ReviewError, answer
from standins.injector.settings import Settings

log = Log(__name__)

MAX_BODY = 6 * 1024 * 1024
"""Bytes. The API server takes objects of up to 3 MiB; a review holds one or two."""
MAX_BODIES = 48 * 1024 * 1024
"""Bytes of all bodies being read at one time; more have to wait."""
SMALL_BODY = 64 * 1024
"""Bytes. Up to this a body does not wait in that line: an ordinary pod is far smaller,
and somebody who sends large bodies slowly must not hold it up."""
READ_SECONDS = 10.0
KEEP_ALIVE = 120.0
"""Seconds. Longer than the API server keeps an idle connection (90 s): the side that
reuses a connection should be the one that closes it, or calls get lost."""


class ByteBudget:
    """A bound on bytes in use: who wants more than is left waits in line."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def take(self, amount: int) -> AsyncIterator[None]:
        """Hold `amount` bytes of the budget; waits for them without a limit of its own."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            async with self._changed:
                self._left += amount
                self._changed.notify_all()


class Webhook:
    """The handlers of one injector."""

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self._settings = settings
        self.metrics = metrics or Metrics()
        self._budget = ByteBudget(MAX_BODIES)

    def app(self) -> web.Application:
        """The application to serve."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/mutate", self.mutate)
        app.router.add_get("/health/ready", self.ready)
        if path := self._settings.telemetry_path:
            app.router.add_get("/" + path.lstrip("/"), self.telemetry)
        return app

    async def ready(self, _request: web.Request) -> web.Response:
        """204: whoever could ask this over TLS has seen that there is a certificate."""
        return web.Response(status=204)

    async def telemetry(self, _request: web.Request) -> web.Response:
        """The metrics."""
        return web.Response(text=self.metrics.text())

    async def mutate(self, request: web.Request) -> web.Response:
        """Answer one AdmissionReview."""
        started = time.perf_counter()
        self.metrics.in_flight += 1
        try:
            return await self._mutate(request)
        finally:
            self.metrics.in_flight -= 1
            self.metrics.took((time.perf_counter() - started) * 1000)

    async def _mutate(self, request: web.Request) -> web.Response:
        kind = request.headers.get("Content-Type", "")
        if kind != "application/json":
            return _refused(400, f'Invalid content-type: "{kind[:100]}"')
        if (request.content_length or 0) > MAX_BODY:
            return _refused(413, f"Request body is larger than {MAX_BODY} bytes")
        # A body of unknown length is counted as the longest there may be.
        size = MAX_BODY if request.content_length is None else request.content_length
        size = 0 if size <= SMALL_BODY else size
        try:
            async with asyncio.timeout(READ_SECONDS), self._budget.take(size):
                body = await request.read()
                return self._decide(body)
        except TimeoutError:
            return _refused(408, f"Request body was not read within {READ_SECONDS:.0f} seconds")
        except web.HTTPRequestEntityTooLarge:
            return _refused(413, f"Request body is larger than {MAX_BODY} bytes")

    def _decide(self, body: bytes) -> web.Response:
        if not body:
            return _refused(400, "Empty request body")
        try:
            decision = answer(body, self._settings)
        except ReviewError as error:
            return _refused(500, str(error))
        self._count(decision)
        return web.Response(body=decision.body, content_type="application/json")

    def _count(self, decision: Decision) -> None:
        if not decision.allowed:
            self.metrics.failed(decision.namespace)
        elif decision.injected:
            self.metrics.injected(decision.namespace, decision.injected)
            log.info(
                "injected",
                namespace=decision.namespace,
                kind=decision.injected,
            )


def _refused(status: int, message: str) -> web.Response:
    log.warn("request refused", status=status, reason=message)
    return web.Response(status=status, text=message + "\n")
