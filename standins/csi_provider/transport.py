"""How often the provider asks Vault and how long it waits, as Vault's Go client does.

Server errors and lost connections are tried again; one time limit covers all tries.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from standins.common.connection import Connection
from standins.common.vault import Data, Query, Vault, VaultError, deadline_exceeded
from standins.csi_provider.errors import ConfigError


@dataclass(frozen=True)
class Patience:
    """How long and how often; the defaults are those of Vault's Go client.

    `timeout` is in seconds and covers all tries of a request. Before retry n a random
    time between n and 1.5 n times `wait` seconds passes.
    """

    retries: int = 2
    wait: float = 1.0
    timeout: float = 60.0

    def before(self, retry: int) -> float:
        """Seconds to let pass before this retry, counted from 1."""
        # Spreads the load of many pods.
        return retry * self.wait * random.uniform(1.0, 1.5)  # noqa: S311 - nothing secret


def patience_from(environment: Mapping[str, str]) -> Patience:
    """What VAULT_MAX_RETRIES and VAULT_CLIENT_TIMEOUT say. Raises ConfigError."""
    retries = re.fullmatch(r"\d{1,3}", environment.get("VAULT_MAX_RETRIES") or "2", re.ASCII)
    if not retries:
        raise ConfigError("VAULT_MAX_RETRIES is not a number of retries")
    given = environment.get("VAULT_CLIENT_TIMEOUT") or "60s"
    timeout = re.fullmatch(r"(\d{1,6})(s|m)?", given, re.ASCII)
    if not timeout:
        raise ConfigError('VAULT_CLIENT_TIMEOUT is not a number of seconds, "90s" or "2m"')
    seconds = int(timeout[1]) * (60 if timeout[2] == "m" else 1)
    return Patience(retries=int(retries[0]), timeout=float(seconds))


class Transport:
    """Sends requests with patience. Make it inside a running event loop and close it there."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._vault = Vault()

    async def close(self) -> None:
        """Close every connection."""
        await self._vault.close()

    async def send(
        self,
        to: Connection,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Query = None,
        token: str = "",
    ) -> Data:
        """The JSON object of a successful answer. Raises VaultError and BadConnection."""
        retry = 0
        try:
            async with asyncio.timeout(self._patience.timeout):
                while True:
                    retry += 1
                    try:
                        reply = await self._vault.send(
                            to, method, path, body, query=query, token=token
                        )
                    except VaultError as error:
                        if retry > self._patience.retries or not error.passing:
                            raise
                    else:
                        return reply.body
                    # A back-off between tries; the time limit around it still holds.
                    await asyncio.sleep(self._patience.before(retry))
        except TimeoutError:
            raise deadline_exceeded(to, method, path, query) from None
