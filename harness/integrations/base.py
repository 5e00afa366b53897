"""What an integration is: something a lab needs beside the cluster and Vault.

A lab names what it `needs`; the environment installs each once and repairs it on every
`up`. An integration says which parts it takes from the supply, brings itself to a
working state, and removes what it keeps outside the cluster. It hides whether upstream's
software or a stand-in does the work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.clients.kube import Kube
from harness.supply.base import Provided


@dataclass(frozen=True)
class Site:
    """Where an integration is installed: one environment.

    `folder` is the integration's own in the environment's state (0700). `labels` belong
    on every container and object. `kube(namespace)` is the cluster, `kubeconfig` the way
    there for a program. `vault_ca` is the certificate that Vault is verified with,
    `vault_pod_addr` the address for pods.
    """

    environment: str
    folder: Path
    network: str
    labels: Mapping[str, str]
    kube: Callable[[str], Kube]
    kubeconfig: Path
    provided: Mapping[str, Provided]
    vault_ca: Path
    vault_pod_addr: str


class Integration(ABC):
    """One integration; no state of its own between calls.

    `parts` are what it takes from the offline supply; `upstream_parts` what it takes from
    the online one, None when that is the same. `pod_parts` are images among them that its
    pods run although they are not made for pods alone, so the node must have them.
    """

    name: str
    parts: tuple[str, ...] = ()
    upstream_parts: tuple[str, ...] | None = None
    pod_parts: tuple[str, ...] = ()
    about: str = ""

    @abstractmethod
    def install(self, site: Site) -> str:
        """Bring it to a working state and say in a few words how ("was running").

        Idempotent; raises GaveUp with an explanation when it does not become healthy.
        """
