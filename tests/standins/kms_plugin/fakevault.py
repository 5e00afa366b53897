"""The Vault of the plugin's tests: AppRole and a Transit key."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.fakes.vault_engines import AppRole, Transit, TransitKey
from tests.fakes.vault_http import ServedVault

MOUNT, NAME, APPROLE = "lab06-transit", "kubernetes", "lab06-approle"
ROLE_ID, SECRET_ID = "canary-role-id", "canary-secret-id"


class FakeVault(ServedVault):
    """One key and one role."""

    def __init__(self) -> None:
        super().__init__()
        self.transit = Transit(NAME)
        self.approle = AppRole(self, ROLE_ID, {SECRET_ID})
        self.engines[f"{MOUNT}/"] = self.transit
        self.auth[APPROLE] = self.approle
        self.token_ttl = 1200

    @property
    def key(self) -> TransitKey:
        """The key, as it is now."""
        return self.transit.keys[NAME]

    def remake(self) -> None:
        """Delete the key and make one of the same name."""
        self.transit.keys[NAME] = TransitKey()


async def until(true: Any) -> None:
    """Give other tasks a turn until `true()`, for five seconds at most."""
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)
