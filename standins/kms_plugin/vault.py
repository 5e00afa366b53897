"""One request to Vault: a time limit, few repetitions, and a name for each way to fail.

All requests of this plugin may be repeated without harm, so a lost connection or a
passing error is tried again while the time lasts. A sealed Vault is not: it does not
unseal itself within seconds.
"""

from __future__ import annotations

import asyncio

from standins.common.connection import BadConnection, Connection
from standins.common.vault import Data, VaultError
from standins.common.vault import Vault as Transport
from standins.kms_plugin.errors import Absent, Denied, Problem, Refused, Slow, Unreachable

# Seconds before the second and the third try.
PAUSES = (0.05, 0.2)
# Longer than the minute between two polls of kube-apiserver, so that they find it open.
KEEP_OPEN = 90.0
LONGEST_QUOTE = 200


class Vault:
    """Sends requests to one Vault. Make it inside a running event loop and close it there."""

    def __init__(
        self, address: str, ca_file: str = "", *, server_name: str = "", timeout: float = 2.0
    ) -> None:
        self.address = address.rstrip("/")
        self.timeout = timeout
        self._to = Connection(self.address, ca_file=ca_file, server_name=server_name)
        self._transport = Transport(keep_open=KEEP_OPEN)

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    async def send(self, method: str, path: str, body: Data | None = None, token: str = "") -> Data:
        """Vault's JSON answer, {} if it has none. `path` comes without /v1/.

        Raises Unreachable, Slow, Denied, Absent and Refused.
        """
        try:
            async with asyncio.timeout(self.timeout):
                return await self._persist(method, path, body, token)
        except TimeoutError:
            raise self.slow(self.timeout) from None
        except BadConnection as error:
            raise Unreachable(f"Vault's certificate cannot be checked: {error}") from None

    def slow(self, seconds: float) -> Slow:
        """The error for having waited that long."""
        return Slow(
            f"Vault at {self.address} gave no answer within {seconds:g}s;"
            " look at its load and at the network"
        )

    async def _persist(self, method: str, path: str, body: Data | None, token: str) -> Data:
        hidden = tuple(value for value in (token, *(body or {}).values()) if isinstance(value, str))
        for pause in (*PAUSES, None):
            try:
                return (await self._transport.send(self._to, method, path, body, token=token)).body
            except VaultError as error:
                words = _quotable(error.errors, hidden)
                if error.status == 503 and "sealed" in words:
                    raise Unreachable(f"Vault at {self.address} is sealed; unseal it") from None
                if error.status and not error.passing:
                    raise self._refusal(error.status, path, words) from None
                problem = f"does not answer: {error.cause or error}"
                if error.status:
                    problem = f"is out of order: it answers {error.status} {words}".rstrip()
                if not error.passing:
                    break
            if pause is not None:
                # A back-off between tries; the time limit around it still holds.
                await asyncio.sleep(pause)
        raise Unreachable(
            f"Vault at {self.address} {problem}; start it, or correct --vault-addr or"
            " --vault-ca-file"
        )

    def _refusal(self, status: int, path: str, words: str) -> Problem:
        if status == 403:
            return Denied(
                f"Vault denies {path} to this plugin; look at the policies of its AppRole role"
            )
        if status == 404:
            # Words come with a path that nothing is mounted at, none with a missing key.
            said = f" ({words})" if words else ""
            return Absent(
                f"Vault at {self.address} has no {path}{said}; restore it from a backup,"
                " for what it encrypted cannot be read without it"
            )
        if status == 400:
            return Refused(words or "Vault says no more than 400")
        return Unreachable(
            f"{self.address} answers {status} to {path}, which Vault never does;"
            " correct --vault-addr"
        )


def _quotable(errors: tuple[str, ...], hidden: tuple[str, ...]) -> str:
    """Vault's words on one line, unless they repeat something that was sent."""
    words = " ".join(" ".join(errors).split())
    if any(value and value in words for value in hidden):
        return "its reason repeats what was sent and is not shown"
    return words[:LONGEST_QUOTE]
