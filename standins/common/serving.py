"""Serving gRPC on a unix socket and a health page beside it, and ending in good order.

Such a socket lies in a folder of the host and outlives a killed process, so a stale one
is removed first; any other file of that name is somebody else's and stops the start.
On the way out, running calls get GRACE seconds before their connections go.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
from aiohttp import web

from standins.common.logs import Log

log = Log(__name__)

# Seconds; below the 30 that Kubernetes gives a pod by default.
GRACE = 20.0
# sun_path of sockaddr_un (unix(7)), less its closing NUL.
LONGEST_SOCKET = 107


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set. Call it inside a running event loop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


class CannotServe(Exception):
    """The socket or the health port cannot be opened; `str()` says why."""


def clear_socket(path: str) -> None:
    """Remove the socket of an earlier run. Raises CannotServe for anything else there."""
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise CannotServe(f"{path}: longer than the {LONGEST_SOCKET} bytes of a socket's path")
    try:
        kind = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise CannotServe(f"{path}: exists and is not a socket")
    log.info("removing the socket of an earlier run", endpoint=path)
    Path(path).unlink()


@asynccontextmanager
async def grpc_socket(
    handlers: grpc.GenericRpcHandler,
    endpoint: str,
    *,
    mode: int | None = None,
    options: Sequence[tuple[str, object]] = (),
) -> AsyncIterator[None]:
    """Serve `handlers` on the socket `endpoint` until the block ends. Raises CannotServe.

    The umask decides on the socket's mode unless it is given; `options` are grpc's.
    """
    clear_socket(endpoint)
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((handlers,))
    try:
        # grpc reports a failed bind as RuntimeError or as port 0, by version.
        bound = server.add_insecure_port(f"unix:{endpoint}")
    except RuntimeError:
        bound = 0
    if not bound:
        raise CannotServe(f"{endpoint}: cannot listen there; is the folder there and writable?")
    if mode is not None:
        Path(endpoint).chmod(mode)
    await server.start()
    log.info("serving", endpoint=endpoint)
    try:
        yield
    finally:
        log.info("ending", grace_seconds=GRACE)
        await server.stop(GRACE)
        Path(endpoint).unlink(missing_ok=True)


# The status and the text of a page.
Page = Callable[[], Awaitable[tuple[int, str]]]


def health(problem: Callable[[], Awaitable[str]] | None = None, failing: int = 500) -> Page:
    """A page that says "ok" while `problem()` is "", else that text with status `failing`."""

    async def page() -> tuple[int, str]:
        found = await problem() if problem else ""
        return (failing, found) if found else (200, "ok")

    return page


@asynccontextmanager
async def text_pages(address: str, pages: Mapping[str, Page]) -> AsyncIterator[None]:
    """Serve pages by their paths on "[host]:port" until the block ends. Raises CannotServe."""
    host, _, port = address.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise CannotServe(f"health address {address!r} is not [host]:port")
    app = web.Application()
    for path, page in pages.items():
        app.router.add_get(path, _handler(page))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            # Without a host it is every address, which in a pod is the pod's own.
            await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
            raise CannotServe(f"health address {address}: cannot listen ({reason})") from None
        log.info("serving pages", address=address, paths=",".join(pages))
        yield
    finally:
        await runner.cleanup()


def _handler(page: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        status, text = await page()
        return web.Response(status=status, text=text)

    return answer
