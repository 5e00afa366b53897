"""What an integration is: software that a lab needs beside the cluster and Vault.

A lab names what it `needs`; the environment installs each once and repairs it on every
`up`. One module of this package describes one integration completely: the parts that it takes
from a supply, the images that its pods run, upstream's charts, how it is installed, when it is
ready, and the client with which a lab reaches it. It hides whether upstream's software or a
stand-in does the work.

`./lab down` removes integrations without asking them: by the labels of the environment on every
container and volume, and with the environment's state folder. What an integration makes outside
the cluster therefore bears `InstallContext.labels` or lies in `InstallContext.folder`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import UsageError
from harness.clients.kube import Kube
from harness.servers.flavours import Flavour
from harness.supply.base import Provided


@dataclass(frozen=True)
class ClusterObject:
    """One object that must be in the cluster for an integration to work."""

    kind: str
    name: str
    namespace: str = ""


@dataclass(frozen=True)
class InstallContext:
    """The environment that an integration is installed in.

    `folder` is the integration's own in the environment's state (0700). `labels` belong
    on every container, volume and object. `kube(namespace)` is the cluster, `kubeconfig` the
    way to it for a program. `flavour` is the environment's Vault server, `vault_ca` the
    certificate that it is verified with, `vault_pod_addr` its address for pods. `new_vault`:
    the person gave leave to remove what a Vault holds.
    """

    environment: str
    folder: Path
    network: str
    labels: Mapping[str, str]
    kube: Callable[[str], Kube]
    kubeconfig: Path
    provided: Mapping[str, Provided]
    flavour: Flavour
    new_vault: bool
    vault_ca: Path
    vault_pod_addr: str


class Integration(ABC):
    """One integration; it keeps no state of its own between calls.

    `about` is shown while it is installed. `parts` are what it takes from the offline supply;
    `upstream_parts` what it takes from the online one, None when that is the same.
    `pod_images` are those of its parts whose images pods run: the node must have them.
    `charts` are upstream's charts that the online installation makes releases of. `objects`
    are what a diagnosis looks at: without them, in both supplies, nothing works.
    """

    about: str
    parts: tuple[str, ...] = ()
    upstream_parts: tuple[str, ...] | None = None
    pod_images: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()
    objects: tuple[ClusterObject, ...] = ()

    @property
    def name(self) -> str:
        """The word for it in a lab's `needs`: its module's name, with dashes."""
        return type(self).__module__.rpartition(".")[2].replace("_", "-")

    def install(self, context: InstallContext) -> str:
        """Bring it to a working state and say in a few words how ("was running").

        Idempotent. Raises GaveUp with an explanation when it does not become ready.
        """
        done = self.apply(context)
        ready = self.wait_until_ready(context)
        return f"{done}, {ready}" if ready else done

    @abstractmethod
    def apply(self, context: InstallContext) -> str:
        """Make or repair everything that belongs to it; say in a few words what is there."""

    def wait_until_ready(self, context: InstallContext) -> str:
        """Wait until a lab can use it; say in a few words what showed that. Raises GaveUp."""
        return ""

    def variables(self, state: Path) -> dict[str, str]:
        """Variables for the shell of a lab that needs it, a Secret among them marked as such.

        Raises NotUp when it is not installed in the environment of this state folder.
        """
        return {}

    def client(self, state: Path, on_call: Callable[[str], None] | None = None) -> Any:
        """What a lab reaches it with; `state` is the environment's state folder.

        `on_call` hears of each call. Raises NotUp when the integration is not installed.
        """
        raise UsageError(f"the integration {self.name} has no client: use the cluster's")
