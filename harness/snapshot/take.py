"""The inventory of a lab: everything it has left in Vault and in the cluster right now.

`reset` is derived from state, not from a log of calls: a learner may act with kubectl,
vault or curl, and what they did must be undone all the same. The runner stores an
inventory before each step; harness.snapshot.restore compares it with the present one. No
secret is in it: values are HMACs, and what is needed to write them again stays in Vault
(harness.snapshot.copies).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from harness.clients.vault import VaultHTTP
from harness.snapshot.copies import SecretCopies
from harness.snapshot.model import Inventory, Item, difference, sum_of
from harness.snapshot.plan import Action
from harness.snapshot.provider import Provider
from harness.snapshot.providers import providers_of
from harness.snapshot.vault import VaultState

if TYPE_CHECKING:
    from harness.lab.context import LabContext

__all__ = ["Inventory", "Item", "LabState", "difference", "take"]

# Of each provider. Two cores: more threads only queue for the interpreter.
THREADS = 6


class LabState:
    """What one lab has left in all places, read without telling the tour's listener."""

    def __init__(self, context: LabContext) -> None:
        self.context = context

    @property
    def environment(self) -> str:
        """Distinguishes one environment's HMACs from another's without revealing the token."""
        return sum_of("environment", self.context.access.vault_token)[:16]

    @cached_property
    def http(self) -> VaultHTTP:
        """Vault, as the environment's administrator."""
        access = self.context.access
        return VaultHTTP(access.vault_addr, access.vault_ca, access.vault_token)

    @cached_property
    def copies(self) -> SecretCopies:
        """The copies of the lab's secrets."""
        return SecretCopies(self.http, self.context.access.vault_token, self.context.lab.prefix)

    @cached_property
    def providers(self) -> list[Provider]:
        """The places where the lab leaves things."""
        return providers_of(self.context, self._vault, self.copies)

    @cached_property
    def _vault(self) -> VaultState:
        return VaultState(self.http, self.context.lab.prefix, self.copies)

    def provider_of(self, action: Action) -> Provider:
        """The provider of the place where an action happens."""
        return next(provider for provider in self.providers if provider.owns(action.item))

    def require_ready(self) -> None:
        """Raise EnvironmentLacks or VaultUnreachable when Vault cannot answer."""
        self._vault.require_ready()

    def take(self, keep: bool = True) -> Inventory:
        """The inventory as it is now; with `keep`, secret values are copied inside Vault.

        Raises EnvironmentLacks or VaultUnreachable when Vault or the cluster cannot answer.
        """
        self.require_ready()
        self.copies.open()
        with ExitStack() as stack:
            pools = [stack.enter_context(ThreadPoolExecutor(THREADS)) for _ in self.providers]
            side_by_side = stack.enter_context(ThreadPoolExecutor(len(pools)))
            parts = list(side_by_side.map(lambda one, pool: one.take(pool), self.providers, pools))
            if keep:
                self.copies.flush(pools[0])
        return Inventory.of(
            self.context.lab.number,
            self.environment,
            [item for part in parts for item in part],
            {path: why for one in self.providers for path, why in one.unreadable().items()},
        )


def take(context: LabContext) -> Inventory:
    """Everything that the lab has left in all places, and copies of its secrets in Vault."""
    return LabState(context).take()
