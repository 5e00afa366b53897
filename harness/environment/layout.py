"""Where an environment lives: its names, its state folder, its record, its servers.

Everything else about an environment starts from here: harness.environment.bringup makes it,
harness.environment.environment reads, repairs and removes it. Two environments differ in all
names, so that they may run side by side. The state folder holds keys and tokens and is
readable by its owner only.
"""

from __future__ import annotations

import re

from harness.base.errors import UsageError
from harness.base.labels import CLUSTER_PREFIX, labels_of, network_of
from harness.base.paths import state_root
from harness.environment.brought import Brought, BroughtCluster
from harness.environment.cluster import Cluster
from harness.environment.record import EnvironmentRecord
from harness.servers.flavours import FLAVOURS, Flavour
from harness.servers.vault import VaultServer

DEFAULT = "lab"
DEFAULT_FLAVOUR = "vault"
# Container and network names are made of it; kind's node name must stay below 63 characters.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")


class EnvironmentLayout:
    """The names and files of the environment `name`, whether it runs or not."""

    def __init__(self, name: str = DEFAULT) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot name an environment",
                hint="small letters, digits and dashes, a letter first, at most 20",
            )
        self.name = name
        self.folder = state_root() / name

    @property
    def brought(self) -> Brought | None:
        """The cluster that a person brought along, None when it is the environment's own."""
        return Brought.read(self.folder)

    @property
    def network(self) -> str:
        """The engine's network of the cluster and of the servers beside it."""
        brought = self.brought
        return brought.network if brought else network_of(self.name)

    @property
    def cluster(self) -> Cluster:
        """The cluster: the environment's own, or the one that was brought along."""
        if brought := self.brought:
            return BroughtCluster(brought, self.folder)
        return Cluster(CLUSTER_PREFIX + self.name, self.folder, self.network)

    @property
    def record(self) -> EnvironmentRecord | None:
        """What `up` wrote down: flavour, port, parts. None before the first `up`."""
        return EnvironmentRecord.read(self.folder)

    def flavour(self) -> Flavour:
        """Vault or OpenBao, as this environment was made."""
        record = self.record
        return FLAVOURS[record.flavour if record else DEFAULT_FLAVOUR]

    def vault(self, name: str = "vault") -> VaultServer:
        """One of the environment's Vault servers."""
        return VaultServer(self.name, self.flavour(), self.folder / name, self.network, name)

    def labels(self) -> dict[str, str]:
        """The labels that every container, volume and object of the environment bears."""
        return labels_of(self.name)


def flavour_of(name: str) -> Flavour:
    """The Vault flavour of this name. Raises UsageError when there is none."""
    try:
        return FLAVOURS[name]
    except KeyError:
        raise UsageError(
            f"there is no Vault flavour {name!r}", hint="--vault " + " or --vault ".join(FLAVOURS)
        ) from None
