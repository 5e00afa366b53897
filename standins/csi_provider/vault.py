"""A Vault client for one pod under one set of parameters, and the cache of such clients.

A client logs in when it first needs a token and keeps it; a 403 on a token that was
there before means one new login and one more try, a 403 right after a login is the
answer. Logins of one client are serialised, so that a token which expires under ten
requests is replaced once. Leases are neither renewed nor revoked: a rotation re-reads.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from standins.csi_provider.connection import UNIX, base_url, overlay, tls_context
from standins.csi_provider.errors import ConfigError, RequestError
from standins.csi_provider.objects import SecretObject
from standins.csi_provider.parameters import Connection, Login
from standins.csi_provider.secret import Secret, parse_secret
from standins.csi_provider.transport import Call, Transport

Jwt = Callable[[], Awaitable[str]]

_FORBIDDEN = 403
_METHOD = re.compile(r"[A-Za-z]+")


class VaultClient:
    """Reads secrets with the token of one login."""

    def __init__(self, transport: Transport, login: Login, connection: Connection) -> None:
        self._transport = transport
        self._login = login
        self._connection = connection
        self._token = ""
        self._lock = asyncio.Lock()

    async def read(self, entry: SecretObject, jwt: Jwt) -> Secret:
        """Vault's answer for `entry`; `jwt` is called when a login is due.

        Raises RequestError, ConfigError and what `jwt` raises.
        """
        method = entry.method or "GET"
        if not _METHOD.fullmatch(method):
            raise ConfigError(f"method {method!r} is not an HTTP verb")
        fresh = await self._ensure_token("", jwt)
        token = self._token
        try:
            body = await self._request(entry, method, token)
        except RequestError as error:
            if fresh or error.status != _FORBIDDEN:
                raise RequestError(
                    f"error requesting secret: {error}", status=error.status
                ) from None
            try:
                await self._ensure_token(token, jwt)
            except RequestError as second:
                raise RequestError(
                    f"failed to fetch secret: {error}; and failed to reauthenticate: {second}"
                ) from None
            try:
                body = await self._request(entry, method, self._token)
            except RequestError as second:
                raise RequestError(
                    f"error requesting secret: {second}", status=second.status
                ) from None
        return parse_secret(body)

    async def _request(self, entry: SecretObject, method: str, token: str) -> bytes:
        call = Call(method.upper(), entry.path, entry.args, token)
        return await self._transport.send(self._connection, call)

    async def _ensure_token(self, failed: str, jwt: Jwt) -> bool:
        """Log in unless there is a token other than `failed`; whether it did."""
        async with self._lock:
            if self._token not in ("", failed):
                return False
            body = {"role": self._login.role, "jwt": await jwt()}
            call = Call("POST", f"/v1/auth/{self._login.mount}/login", body)
            try:
                answer = parse_secret(await self._transport.send(self._connection, call))
            except RequestError as error:
                raise RequestError(f"failed to login: {error}", status=error.status) from None
            token = (answer.auth or {}).get("client_token")
            if not isinstance(token, str) or not token:
                raise RequestError("failed to login: the response holds no token")
            self._token = token
            return True


class ClientCache:
    """Clients by login, the least recently used one dropped beyond `size`; 0 keeps none."""

    def __init__(
        self,
        transport: Transport,
        size: int,
        *,
        environment: Connection,
        flags: Connection,
        default_mount: str,
    ) -> None:
        self._transport = transport
        self._size = size
        self._layers = (environment, flags)
        self._default_mount = default_mount
        self._clients: OrderedDict[Login, VaultClient] = OrderedDict()

    def __len__(self) -> int:
        return len(self._clients)

    def get(self, login: Login) -> VaultClient:
        """The client for this login, made if there is none. Raises ConfigError."""
        client = self._clients.get(login)
        if client is None:
            client = self._make(login)
        if self._size > 0:
            self._clients[login] = client
            self._clients.move_to_end(login)
            if len(self._clients) > self._size:
                self._clients.popitem(last=False)
        return client

    def _make(self, login: Login) -> VaultClient:
        if login.connection.address.startswith(UNIX):
            raise ConfigError(
                "vaultAddress: unix:// is for the provider's own -vault-addr, not for a class"
            )
        connection = overlay(*self._layers, login.connection)
        base_url(connection.address)
        tls_context(connection)
        mounted = replace(login, mount=login.mount or self._default_mount)
        return VaultClient(self._transport, mounted, connection)
