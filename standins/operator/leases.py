"""No lease without somebody who will end it.

Two things can leave a lease behind: a rotation (the old lease is still used by pods that have
not restarted) and a crash (Vault has answered, nobody wrote the lease down). So:

- The accessor of every token goes into a Secret beside the operator *before* the token reads
  its first credentials. Whatever the token leases later belongs to that token in Vault.
- A token that is not used any more is revoked, and all its leases with it, once no
  VaultDynamicSecret names it in its status and a grace period has passed. The old token of a
  killed operator is found in the Secret and ends the same way.
- A lease that a rotation replaced is revoked after the same grace period.

Revoking the token of a dead process needs `update` on auth/token/revoke-accessor, revoking a
lease needs it on sys/leases/revoke. Without them Vault's own TTLs end what is left.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from standins.common import gojson
from standins.common.kube import Kube, KubeError
from standins.common.logs import Log
from standins.common.vault import VaultError
from standins.operator import model
from standins.operator.clients import ClientRefused
from standins.operator.model import Key
from standins.operator.store import Store
from standins.operator.vaultclient import VaultClient

log = Log(__name__)

LEDGER = "vso-token-ledger"
_LABELS = {
    "app.kubernetes.io/name": "vault-secrets-operator",
    "app.kubernetes.io/managed-by": "hashicorp-vso",
    "app.kubernetes.io/component": "token-ledger",
}

# A client for (auth "namespace/name", consumer namespace): the cache's get_for, by reference.
Find = Callable[[str, str], Awaitable[VaultClient]]


@dataclass
class Token:
    """One token that the operator has or had. The accessor names it, it cannot use it."""

    id: str
    accessor: str = field(repr=False)
    auth: str
    namespace: str
    client: VaultClient | None = None
    unused_since: float | None = None

    def line(self) -> str:
        """The ledger's entry."""
        return gojson.dumps({"accessor": self.accessor, "auth": self.auth, "ns": self.namespace})


class LeaseKeeper:
    """The ledger of tokens and the list of leases that wait for their end."""

    def __init__(self, kube: Kube, store: Store, namespace: str, *, grace: float) -> None:
        """`grace`: seconds between a replacement and the end of what it replaced."""
        self._kube = kube
        self._store = store
        self._namespace = namespace
        self._grace = grace
        self._tokens: dict[str, Token] = {}
        self._live: set[str] = set()
        self._superseded: list[tuple[float, str, Key, VaultClient]] = []
        self._seen: set[Key] = set()

    # The port that ClientCache uses.

    async def opened(self, client: VaultClient) -> None:
        """Write the token's accessor down; a failure to do so refuses the client."""
        token = Token(
            client.id, client.accessor, client.auth_ref, client.consumer_namespace, client
        )
        try:
            await self._write({client.id: token.line()})
        except KubeError as error:
            raise ClientRefused(f"the token could not be written to the ledger: {error}") from error
        self._tokens[client.id] = token
        self._live.add(client.id)

    def retired(self, client: VaultClient) -> None:
        """The token is out of use; `sweep` ends it in time."""
        self._live.discard(client.id)

    # What the reconcilers tell.

    def reconciled(self, key: Key) -> None:
        """`key` was reconciled by this process at least once: its status speaks for it."""
        self._seen.add(key)

    def superseded(self, lease: str, key: Key, client: VaultClient) -> None:
        """`lease` of `key` was replaced; end it once its users had time to follow."""
        if lease:
            self._superseded.append((time.monotonic() + self._grace, lease, key, client))

    def client_of(self, token_id: str) -> VaultClient | None:
        """The client with this token if this process has it, also when it is out of use."""
        known = self._tokens.get(token_id)
        return known.client if known else None

    def take_superseded(self, key: Key) -> list[str]:
        """The replaced leases of `key`, which is being deleted; the caller revokes them."""
        mine = [entry[1] for entry in self._superseded if entry[2] == key]
        self._superseded = [entry for entry in self._superseded if entry[2] != key]
        return mine

    # At the start, and then now and again.

    async def load(self) -> int:
        """Read what an earlier process left; returns how many tokens that are."""
        secret = await self._kube.find("Secret", self._namespace, LEDGER)
        for token_id, encoded in ((secret or {}).get("data") or {}).items():
            entry = gojson.parse(base64.b64decode(encoded))
            self._tokens[token_id] = Token(token_id, entry["accessor"], entry["auth"], entry["ns"])
        return len(self._tokens)

    async def sweep(self, find: Find) -> None:
        """End what nobody uses any more. Failures wait for the next sweep."""
        await self._end_superseded()
        now = time.monotonic()
        in_use = {
            str((model.status(obj).get("vaultClientMeta") or {}).get("id", ""))
            for obj in self._store.all(model.DYNAMIC)
        }
        waiting = any(
            model.key_of(model.DYNAMIC, obj) not in self._seen
            for obj in self._store.all(model.DYNAMIC)
        )
        for token in list(self._tokens.values()):
            if token.id in self._live:
                continue
            # Until each secret was looked at, one may hold credentials that its status does
            # not name: the crash came between the Secret and the status.
            if token.id in in_use or waiting:
                token.unused_since = None
            elif token.unused_since is None:
                token.unused_since = now
            if token.unused_since is not None and now - token.unused_since >= self._grace:
                await self._end(token, find)

    async def _end(self, token: Token, find: Find) -> None:
        try:
            if token.client is not None:
                await token.client.call("PUT", "auth/token/revoke-self", {})
            else:
                other = await find(token.auth, token.namespace)
                body = {"accessor": token.accessor}
                await other.call("PUT", "auth/token/revoke-accessor", body)
        except ClientRefused as error:
            log.info("token not revoked", token=token.id[:8], error=error)
            if not error.missing:
                return
            # Nobody can log in for it any more: its TTL ends it.
        except VaultError as error:
            if token.client is None and error.forbidden:
                log.warn(
                    "an earlier operator's token is left to its TTL: the policy does not allow "
                    "auth/token/revoke-accessor",
                    auth=token.auth,
                )
            elif error.status not in (400, 403, 404):
                log.info("token not revoked", token=token.id[:8], error=error)
                return
        else:
            log.info("revoked token and its leases", token=token.id[:8], auth=token.auth)
        self._tokens.pop(token.id, None)
        await self._write({token.id: None})

    async def _end_superseded(self) -> None:
        now = time.monotonic()
        due = [entry for entry in self._superseded if entry[0] <= now]
        self._superseded = [entry for entry in self._superseded if entry[0] > now]
        for _, lease, key, client in due:
            if client.closed:
                # Its token is on the ledger and takes the lease along.
                continue
            try:
                await client.call("PUT", "sys/leases/revoke", {"lease_id": lease})
                log.info("revoked replaced lease", key=key)
            except VaultError as error:
                if error.status == 0 or error.status >= 500:
                    self._superseded.append((now + self._grace, lease, key, client))
                else:
                    log.info("replaced lease is left to its TTL", key=key, error=error)

    async def _write(self, entries: dict[str, str | None]) -> None:
        data = {
            name: None if line is None else base64.b64encode(line.encode()).decode()
            for name, line in entries.items()
        }
        try:
            await self._kube.patch("Secret", self._namespace, LEDGER, {"data": data})
        except KubeError as error:
            if not error.not_found:
                raise
            kept = {name: value for name, value in data.items() if value is not None}
            body = {
                "metadata": {"name": LEDGER, "labels": _LABELS},
                "type": "Opaque",
                "data": kept,
            }
            try:
                await self._kube.create("Secret", self._namespace, body)
            except KubeError as again:
                if not again.conflict:
                    raise
                await self._kube.patch("Secret", self._namespace, LEDGER, {"data": data})

    async def run(self, find: Find, every: float) -> None:
        """Sweep every so many seconds until cancelled."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.sweep(find)
            except KubeError as error:
                log.info("ledger not written", error=error)
