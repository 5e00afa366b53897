"""For labs that change the API server: its settings, and the provider that wrote a value."""

from harness.controlplane.change import SERVES
from harness.controlplane.encryption import reads, survey, writer, writer_of
from harness.controlplane.settings import PLUGIN_FILES, SOCKETS, Plugin
from harness.servers.vault import FLAVOURS, VaultServer

__all__ = [
    "FLAVOURS",
    "PLUGIN_FILES",
    "SERVES",
    "SOCKETS",
    "Plugin",
    "VaultServer",
    "reads",
    "survey",
    "writer",
    "writer_of",
]
