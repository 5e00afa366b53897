"""Logged-in Vault clients, one for each (VaultAuth, VaultConnection, identity, namespace).

A client logs in once however many secrets share it, renews its token at once (so a token
that may not renew itself is found out early) and then at two thirds of its life. A 403 taints
a client: before its next use it looks itself up, and when Vault does not know it any more a
new login takes its place. Tokens live in memory only; clients.py tells the ledger of each.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Protocol

from standins.common import gojson
from standins.common.kube import Kube, KubeError
from standins.common.logs import Log
from standins.common.vault import VaultError
from standins.operator import login, model
from standins.operator.connections import Connections
from standins.operator.model import Obj
from standins.operator.references import ReferenceRefused, Resolver
from standins.operator.timing import uniform
from standins.operator.vaultclient import VaultApi, VaultClient, View

log = Log(__name__)

# Below this many seconds of life a token is not worth another renewal.
_TOO_SHORT = 2.0
_RENEW_RETRY = 5.0


class ClientRefused(Exception):
    """No logged-in client can be had; the text says why and is fit for an event.

    `missing`: an object that is needed for the login does not exist or may not be used.
    """

    def __init__(self, text: str, *, missing: bool = False) -> None:
        self.missing = missing
        super().__init__(text)


class Ledger(Protocol):
    """Where tokens are written down before they are used (see ledger.py)."""

    async def opened(self, client: VaultClient) -> None:
        """`client` has logged in and is about to be used."""
        ...

    def retired(self, client: VaultClient) -> None:
        """`client` is not used any more; its leases may still be."""
        ...


class ClientCache:
    """Finds or makes the client for a secret."""

    def __init__(
        self,
        kube: Kube,
        resolver: Resolver,
        connections: Connections,
        ledger: Ledger,
        on_lost: Callable[[str], None],
    ) -> None:
        """`on_lost(key)` hears of clients that ended, so that leased secrets can be renewed."""
        self._kube = kube
        self._resolver = resolver
        self._connections = connections
        self._ledger = ledger
        self._on_lost = on_lost
        self._clients: dict[str, VaultClient] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self.logins = 0

    def live(self) -> dict[str, VaultClient]:
        """The clients in use, by token id (or by key, where the token has no id)."""
        return {client.id or client.key: client for client in self._clients.values()}

    async def get(self, consumer: Obj) -> View:
        """The client for `consumer`, logged in. ClientRefused says why there is none."""
        try:
            auth = self._resolver.auth_for(consumer)
            client = await self.get_for(auth, model.namespace(consumer))
        except ReferenceRefused as error:
            raise ClientRefused(str(error), missing=True) from error
        return View(client, str(model.spec(consumer).get("namespace") or ""))

    async def farewell(self, consumer: Obj) -> View:
        """The client for a consumer that is being deleted.

        Its service account or VaultAuth may be gone already (a namespace is deleted in no
        order that helps): then a client that logged in for the same auth and namespace does.
        """
        try:
            return await self.get(consumer)
        except ClientRefused as error:
            spec, home = model.spec(consumer), model.namespace(consumer)
            try:
                ref = "/".join(self._resolver.parse(str(spec.get("vaultAuthRef") or ""), home))
            except ReferenceRefused:
                raise error from None
            for client in self._clients.values():
                if (client.auth_ref, client.consumer_namespace) == (ref, home) and client.alive:
                    return View(client, str(spec.get("namespace") or ""))
            raise error from None

    async def get_for(self, auth: Obj, consumer_namespace: str) -> VaultClient:
        """The client of a (merged) VaultAuth for consumers in one namespace."""
        try:
            connection = self._resolver.connection_for(auth)
            who = await login.identity(self._kube, auth, consumer_namespace)
            key = cache_key(auth, connection, consumer_namespace, who.uid)
            async with self._locks.setdefault(key, asyncio.Lock()):
                known = self._clients.get(key)
                if known is not None and await self._usable(known):
                    return known
                if known is not None:
                    self._lose(known)
                api = await self._connections.api(connection)
                return await self._login(api, auth, consumer_namespace, key)
        except (ReferenceRefused, login.LoginImpossible) as error:
            raise ClientRefused(str(error), missing=True) from error
        except KubeError as error:
            # A right that is missing, a name that cannot be: nobody would see it in the log.
            raise ClientRefused(str(error), missing=error.not_found) from error
        except (VaultError, ValueError) as error:
            raise ClientRefused(str(error)) from error

    async def _usable(self, client: VaultClient) -> bool:
        if not client.alive:
            return False
        if client.tainted:
            try:
                await client.call("GET", "auth/token/lookup-self")
            except VaultError as error:
                if error.forbidden:
                    return False
                raise
            client.tainted = False
        return True

    async def _login(
        self, api: VaultApi, auth: Obj, consumer_namespace: str, key: str
    ) -> VaultClient:
        spec = model.spec(auth)
        body = await login.credentials(self._kube, auth, consumer_namespace)
        self.logins += 1
        answer = await api.call(
            "PUT",
            f"auth/{spec.get('mount', '')}/login",
            namespace=str(spec.get("namespace") or ""),
            # spec.params is merged and never sent: upstream does not use it either.
            body=body,
            headers=spec.get("headers") or {},
        )
        if answer is None or not answer.auth.get("client_token"):
            raise ClientRefused("the login's answer holds no token")
        client = VaultClient(api, auth, consumer_namespace, key, answer.auth)
        if not client.accessor:
            # A batch token: it has no name, and Vault keeps no list of them.
            client.id = ""
        if client.renewable:
            await self._renew(client)
            if not client.renewable:
                raise ClientRefused("auth token is not renewable, cannot start the LifetimeWatcher")
        if client.accessor:
            await self._ledger.opened(client)
        self._clients[key] = client
        self._watchers[key] = asyncio.create_task(self._keep_alive(client))
        log.info("logged in", key=key, auth=client.auth_ref, namespace=consumer_namespace)
        return client

    async def _renew(self, client: VaultClient) -> None:
        answer = await client.call("PUT", "auth/token/renew-self", {})
        if answer is not None:
            client.renewed(answer.auth)

    async def _keep_alive(self, client: VaultClient) -> None:
        """Renew until the token cannot live on, then give the client up before it expires.

        One that cannot be renewed at all (a batch token) is used to its end.
        """
        if not client.renewable and client.ttl:
            await asyncio.sleep(max(client.expires - time.monotonic(), 0))
            self._lose(client)
            return
        best = client.ttl
        while not client.closed:
            left = client.expires - time.monotonic()
            if left == float("inf"):
                return
            if left <= max(_TOO_SHORT, 0.2 * best):
                break
            # Two thirds of what is left, spread by a tenth.
            await asyncio.sleep(left * (2 / 3 - uniform() / 10))
            before = client.expires
            try:
                await self._renew(client)
            except VaultError as error:
                if error.forbidden or error.status == 400:
                    break
                log.info("token not renewed", key=client.key, error=error)
                await asyncio.sleep(min(_RENEW_RETRY, max(left / 10, 0.1)))
            if client.expires < before + 1 and client.ttl < best / 2:
                # Capped by its maximal life: a new login is due.
                break
        if not client.closed:
            log.info("token ends; its secrets get a new one", key=client.key)
            self._lose(client)

    def _lose(self, client: VaultClient) -> None:
        self._drop(client)
        self._on_lost(client.key)

    def _drop(self, client: VaultClient) -> None:
        if self._clients.get(client.key) is client:
            del self._clients[client.key]
            task = self._watchers.pop(client.key, None)
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        if not client.closed:
            client.closed = True
            if client.accessor:
                self._ledger.retired(client)

    def prune(self, auth_ref: str) -> None:
        """A VaultAuth or its connection changed: its clients are replaced at their next use."""
        for client in list(self._clients.values()):
            if client.auth_ref == auth_ref:
                self._lose(client)

    async def close(self) -> None:
        """Stop renewing. Tokens stay valid: the secrets made with them are in use."""
        for task in self._watchers.values():
            task.cancel()
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)


def cache_key(auth: Obj, connection: Obj, namespace: str, identity: str) -> str:
    """`<method>-<22 hex digits>`: changes when the auth, the connection or the identity does."""
    parts = [
        model.uid(auth),
        gojson.dumps(model.spec(auth)),
        model.uid(connection),
        str(model.generation(connection)),
        namespace,
        identity,
    ]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{str(model.spec(auth).get('method', '')).lower()}-{digest[:22]}"
