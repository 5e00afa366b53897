"""The part of CSI's Identity service (csi.v1) that a registrar calls on a driver."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from standins.common.wire import Message, Schema, tag

SERVICE = "csi.v1.Identity"
# The CSI specification's rule for driver names; it also keeps them out of other folders.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")


class BadDriver(Exception):
    """The driver says something about itself that cannot be registered."""


@dataclass(frozen=True)
class GetPluginInfoRequest(Message):
    """Who are you?"""


@dataclass(frozen=True)
class GetPluginInfoResponse(Message):
    """The driver's name and its own version."""

    name: str = tag(1, "")
    vendor_version: str = tag(2, "")


@dataclass(frozen=True)
class ProbeRequest(Message):
    """Are you well?"""


@dataclass(frozen=True)
class BoolValue(Message):
    """A bool that can be absent."""

    value: bool = tag(1, False)


@dataclass(frozen=True)
class ProbeResponse(Message):
    """An absent `ready` means ready."""

    ready: BoolValue | None = tag(1, None)  # noqa: RUF009 - `tag` is a dataclasses.field specifier


SCHEMA = Schema(
    "csi.v1", GetPluginInfoRequest, GetPluginInfoResponse, ProbeRequest, BoolValue, ProbeResponse
)


class Driver:
    """A CSI driver behind its socket. Raises grpc's AioRpcError where it does not answer."""

    def __init__(self, channel: Any) -> None:
        self._info = SCHEMA.call(channel, f"/{SERVICE}/GetPluginInfo", GetPluginInfoResponse)
        self._probe = SCHEMA.call(channel, f"/{SERVICE}/Probe", ProbeResponse)

    async def name(self, *, timeout: float) -> str:
        """The driver's name; waits up to `timeout` seconds for the driver to come up.

        Raises BadDriver for a name that CSI does not allow.
        """
        info: GetPluginInfoResponse = await self._info(
            GetPluginInfoRequest(), timeout=timeout, wait_for_ready=True
        )
        if not _NAME.fullmatch(info.name):
            raise BadDriver(f"the driver calls itself {info.name!r}, which is no CSI driver name")
        return info.name

    async def ready(self, *, timeout: float) -> bool:
        """What the driver answers to a probe."""
        answer: ProbeResponse = await self._probe(ProbeRequest(), timeout=timeout)
        return answer.ready is None or answer.ready.value
