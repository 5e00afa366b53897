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
from urllib.parse import unquote_plus

from standins.common.connection import UNIX, Connection, base_url, tls_context
from standins.common.vault import VaultError, refusal, request_url
from standins.csi_provider.connection import overlay
from standins.csi_provider.errors import ConfigError
from standins.csi_provider.objects import SecretObject
from standins.csi_provider.parameters import Login
from standins.csi_provider.secret import Secret, parse_secret
from standins.csi_provider.transport import Transport

Jwt = Callable[[], Awaitable[str]]
Query = dict[str, list[str]]

_METHOD = re.compile(r"[A-Za-z]+")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_NOT_ALLOWED = 405


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

        Raises VaultError, ConfigError and what `jwt` raises.
        """
        method = entry.method or "GET"
        if not _METHOD.fullmatch(method):
            raise ConfigError(f"method {method!r} is not an HTTP verb")
        fresh = await self._ensure_token("", jwt)
        path, query = split_path(entry)
        token = self._token
        try:
            return await self._request(entry, method, path, query)
        except VaultError as error:
            if fresh or not error.forbidden:
                raise _requesting(error) from None
            first = error
        try:
            await self._ensure_token(token, jwt)
        except VaultError as error:
            raise VaultError(
                f"failed to fetch secret: {first}; and failed to reauthenticate: {error}"
            ) from None
        try:
            return await self._request(entry, method, path, query)
        except VaultError as error:
            raise _requesting(error) from None

    async def _request(self, entry: SecretObject, method: str, path: str, query: Query) -> Secret:
        if method != method.upper():
            # aiohttp sends every verb in capitals; this is Vault's answer to one that is not.
            url = request_url(self._connection.address, path, query)
            raise refusal(method, url, _NOT_ALLOWED, {})
        return parse_secret(
            await self._transport.send(
                self._connection, method, path, entry.args, query=query, token=self._token
            )
        )

    async def _ensure_token(self, failed: str, jwt: Jwt) -> bool:
        """Log in unless there is a token other than `failed`; whether it did."""
        async with self._lock:
            if self._token not in ("", failed):
                return False
            body = {"role": self._login.role, "jwt": await jwt()}
            path = f"auth/{self._login.mount}/login"
            try:
                answer = await self._transport.send(self._connection, "POST", path, body)
            except VaultError as error:
                raise VaultError(f"failed to login: {error}", status=error.status) from None
            token = (parse_secret(answer).auth or {}).get("client_token")
            if not isinstance(token, str) or not token:
                raise VaultError("failed to login: the response holds no token")
            self._token = token
            return True


def split_path(entry: SecretObject) -> tuple[str, Query]:
    """The path below /v1 and the query of `secretPath`. Raises ConfigError."""
    path, _, text = entry.path.partition("?")
    query: Query = {}
    problem = ""
    for pair in filter(None, text.split("&")):
        if ";" in pair:
            problem = problem or "invalid semicolon separator in query"
        elif wrong := _NO_ESCAPE.search(pair):
            problem = problem or f'invalid URL escape "{wrong[0]}"'
        key, _, value = pair.partition("=")
        query.setdefault(unquote_plus(key), []).append(unquote_plus(value))
    path = path.removeprefix("/").removeprefix("v1/")
    if problem:
        raise ConfigError(
            f'failed to parse query parameters from secretPath "/v1/{path}?{text}"'
            f' for objectName "{entry.name}": {problem}'
        )
    return path, query


def _requesting(error: VaultError) -> VaultError:
    return VaultError(f"error requesting secret: {error}", status=error.status)


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
        """The client for this login, made if there is none. Raises ConfigError, BadConnection."""
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
