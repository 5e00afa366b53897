"""What a snapshot provider does: take what a lab has left in one place, and restore it there.

Vault, the cluster and the control plane are the three places (harness.snapshot.providers).
The rest of the package does not know which there are: it compares items, orders actions and
hands each action to the provider of its item.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Executor

from harness.snapshot.model import Inventory, Item
from harness.snapshot.plan import Action


class Provider(ABC):
    """One place where a lab leaves things."""

    @abstractmethod
    def owns(self, item: Item) -> bool:
        """Whether an item lies in this place."""

    @abstractmethod
    def take(self, pool: Executor) -> list[Item]:
        """Every item of the lab in this place, as it is now."""

    @abstractmethod
    def restore(self, action: Action) -> str:
        """Do one action; a sentence that says what was done. Raises LabError."""

    def prepare(self, wanted: Inventory) -> list[str]:
        """Bring back what the other places cannot be read without, before any is looked at.

        Returns sentences that say what was done.
        """
        return []

    def announce(self, action: Action) -> None:  # noqa: B027 # optional: most places need none
        """Begin an action that others have to react to, before any action is waited for."""

    def forget(self) -> None:  # noqa: B027 # optional, as above
        """Drop what was kept for ways back to earlier states: the whole lab was removed."""

    def unreadable(self) -> Mapping[str, str]:
        """What the last `take` had to leave out, by API path, and why."""
        return {}
