"""Run the registrar: `python -m standins.registrar -csi-address=… -kubelet-registration-path=…`.

The flags are those of node-driver-registrar, with one dash or two. It waits for the
driver's socket as long as it takes, serves until SIGTERM, and ends with status 1 when
kubelet refuses the driver.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from standins.common.flags import BadFlag, flag, read
from standins.common.logs import Log, configure
from standins.common.serving import CannotServe, grpc_socket, health, stop_signal, text_pages
from standins.registrar.identity import BadDriver, Driver
from standins.registrar.registration import Registration, problem

log = Log("standins.registrar")

PROGRAM = "node-driver-registrar (stand-in)"

# How often the log says that the driver is still not there.
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Flags:
    """The settings of one registrar process."""

    registration_path: str = flag(
        "kubelet-registration-path", ..., "the driver's socket, as kubelet sees it"
    )
    csi_address: str = flag(
        "csi-address", "/run/csi/socket", "the driver's socket, as this container sees it"
    )
    folder: str = flag(
        "plugin-registration-path", "/registration", "kubelet's folder of registration sockets"
    )
    http_endpoint: str = flag(
        "http-endpoint", "", "where /healthz is served, [host]:port; nowhere if empty"
    )
    log_level: str = flag("log-level", "info", "debug, info, warn, error or off")


async def run(flags: Flags, stop: asyncio.Event) -> None:
    """Register the driver and serve until `stop`. Raises CannotServe and BadDriver."""
    address = flags.csi_address.removeprefix("unix://")
    async with grpc.aio.insecure_channel(f"unix:{address}") as channel, AsyncExitStack() as stack:
        driver = Driver(channel)
        name = await _name_of(driver, address, stop)
        if not name:
            return
        registration = Registration(name, flags.registration_path)
        socket = Path(flags.folder) / f"{name}-reg.sock"
        await stack.enter_async_context(grpc_socket(registration.handlers(), str(socket)))
        if flags.http_endpoint:
            await stack.enter_async_context(
                text_pages(
                    flags.http_endpoint, {"/healthz": health(lambda: problem(driver, socket))}
                )
            )
        await _first(stop, registration.refused)
        if registration.reason:
            raise CannotServe(f"kubelet refuses the driver {name}: {registration.reason}")


async def _name_of(driver: Driver, address: str, stop: asyncio.Event) -> str:
    """The driver's name once it answers; "" when told to stop before."""
    while not stop.is_set():
        asking = asyncio.ensure_future(driver.name(timeout=PATIENCE_SECONDS))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not asking.done():
            asking.cancel()
            return ""
        try:
            return asking.result()
        except grpc.aio.AioRpcError as error:
            log.warn("still waiting for the driver", address=address, code=error.code().name)
    return ""


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _until_signal(flags: Flags) -> None:
    await run(flags, stop_signal())


def main() -> int:
    """The exit code: 0 after a signal, 1 when it cannot register, 2 for wrong flags."""
    try:
        flags = read(Flags, "python -m standins.registrar", sys.argv[1:])
    except BadFlag as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    configure(flags.log_level)
    try:
        asyncio.run(_until_signal(flags))
    except (CannotServe, BadDriver) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
