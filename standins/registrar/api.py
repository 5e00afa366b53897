"""Kubelet's plug-in registration service (pluginregistration.v1) as typed messages."""

from __future__ import annotations

from dataclasses import dataclass

from standins.common.wire import Message, Schema, tag

# The protobuf package has no version in it, though the API is v1.
SERVICE = "pluginregistration.Registration"


@dataclass(frozen=True)
class InfoRequest(Message):
    """Kubelet asks who is behind a socket."""


@dataclass(frozen=True)
class PluginInfo(Message):
    """`endpoint` is the driver's socket by its path on the host."""

    type: str = tag(1, "")
    name: str = tag(2, "")
    endpoint: str = tag(3, "")
    supported_versions: tuple[str, ...] = tag(4, ())


@dataclass(frozen=True)
class RegistrationStatus(Message):
    """Kubelet's verdict on what it was told."""

    plugin_registered: bool = tag(1, False)
    error: str = tag(2, "")


@dataclass(frozen=True)
class RegistrationStatusResponse(Message):
    """Nothing to say to that."""


SCHEMA = Schema(
    "pluginregistration", InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse
)
