"""The inventory of a lab: everything it has left in Vault and in the cluster right now.

`reset` is derived from state, not from a log of calls: a learner may act with kubectl,
vault or curl, and what they did must be undone all the same. The runner stores an
inventory before each step; harness.snapshot.restore compares it with the present one. No secret is
in it: values are HMACs, and what is needed to write them again stays in Vault
(harness.snapshot.copies).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from harness.clients.vault import VaultHTTP
from harness.snapshot.cluster import ClusterState
from harness.snapshot.copies import Safe
from harness.snapshot.model import Inventory, Item, difference, sum_of
from harness.snapshot.vault import VaultState

if TYPE_CHECKING:
    from harness.lab.context import LabContext

__all__ = ["Inventory", "Item", "Surroundings", "difference", "take"]

# Two cores: more threads only queue for the interpreter.
THREADS = 6


@dataclass(frozen=True)
class Surroundings:
    """Both places where a lab leaves things, reached without telling the tour's listener."""

    context: LabContext

    @property
    def environment(self) -> str:
        """Tells one environment's HMACs from another's, without telling the token."""
        return sum_of("environment", self.context.access.vault_token)[:16]

    @cached_property
    def http(self) -> VaultHTTP:
        """Vault, as the environment's administrator."""
        access = self.context.access
        return VaultHTTP(access.vault_addr, access.vault_ca, access.vault_token)

    @cached_property
    def safe(self) -> Safe:
        """Where the lab's secret copies are."""
        return Safe(self.http, self.context.access.vault_token, self.context.lab.prefix)

    @cached_property
    def vault(self) -> VaultState:
        """The lab's part of Vault."""
        return VaultState(self.http, self.context.lab.prefix, self.safe)

    @cached_property
    def cluster(self) -> ClusterState:
        """The lab's part of the cluster."""
        lab = self.context.lab
        return ClusterState(self.context.kube.api, lab.prefix, lab.number, self.safe)

    def take(self, keep: bool = True) -> Inventory:
        """The inventory as it is now; with `keep`, secret values are copied inside Vault.

        Raises EnvironmentLacks or VaultUnreachable when Vault or the cluster cannot answer.
        """
        self.vault.require_ready()
        self.safe.open()
        with ThreadPoolExecutor(THREADS) as pool, ThreadPoolExecutor(THREADS) as other:
            cluster = other.submit(self.cluster.collect, pool)
            items = self.vault.collect(other) + cluster.result()
            if keep:
                self.safe.flush(pool)
        return Inventory.of(self.context.lab.number, self.environment, items)


def take(context: LabContext) -> Inventory:
    """Everything of this lab in Vault and in the cluster, and copies of its secrets in Vault."""
    return Surroundings(context).take()
