"""What kubelet is told about the driver, and what it says to that."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from standins.common.logs import Log
from standins.registrar.api import (
    SCHEMA,
    SERVICE,
    InfoRequest,
    PluginInfo,
    RegistrationStatus,
    RegistrationStatusResponse,
)
from standins.registrar.identity import Driver

log = Log(__name__)

CSI_VERSIONS = ("1.0.0",)
PROBE_SECONDS = 3.0


class Registration:
    """Serves pluginregistration.Registration for one driver.

    `refused` is set, and `reason` with it, when kubelet does not take the driver: the
    process then ends, so that the restart starts over.
    """

    def __init__(self, name: str, endpoint: str) -> None:
        self._info = PluginInfo("CSIPlugin", name, endpoint, CSI_VERSIONS)
        self.refused = asyncio.Event()
        self.registered = False
        self.reason = ""

    def handlers(self) -> grpc.GenericRpcHandler:
        """What a gRPC server needs to serve the two calls."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "GetInfo": SCHEMA.method(self.get_info, InfoRequest),
                "NotifyRegistrationStatus": SCHEMA.method(self.notify, RegistrationStatus),
            },
        )

    async def get_info(self, request: InfoRequest, context: Any) -> PluginInfo:
        """Kubelet asks once when it sees the socket, and again after its own restart."""
        log.info("kubelet asks", driver=self._info.name)
        return self._info

    async def notify(self, request: RegistrationStatus, context: Any) -> RegistrationStatusResponse:
        """Kubelet's verdict."""
        if request.plugin_registered:
            self.registered = True
            log.info("registered", driver=self._info.name, endpoint=self._info.endpoint)
        else:
            self.reason = request.error or "no reason given"
            self.refused.set()
        return RegistrationStatusResponse()


async def problem(driver: Driver, socket: Path) -> str:
    """What keeps this node from mounting, "" for nothing: the liveness check's answer."""
    if not socket.exists():
        return f"{socket} is gone: kubelet cannot find the driver after its next restart"
    try:
        if await driver.ready(timeout=PROBE_SECONDS):
            return ""
    except grpc.aio.AioRpcError as error:
        return f"the driver does not answer: {error.code().name}: {error.details()}"
    return "the driver says that it is not ready"
