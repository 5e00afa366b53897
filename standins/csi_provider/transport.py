"""HTTP to Vault: one session for all clients, retries, and errors in Vault's words.

Each request carries its own TLS settings, so that hundreds of pods share a handful of
connections. Server errors and lost connections are tried again like Vault's Go client
does; the texts of the errors are that client's and the Go network library's, because
people search for them and the labs' checks look for them in the pod's events.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from yarl import URL

from standins.csi_provider.connection import UNIX, base_url, tls_context
from standins.csi_provider.errors import ConfigError, RequestError
from standins.csi_provider.parameters import Connection

# More than the driver accepts from a provider (4 MiB); a bigger answer is of no use.
LARGEST_ANSWER = 8 * 1024 * 1024
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_OTHER_NAME = re.compile(r"certificate is not valid for '([^']*)'")
_TOO_MANY, _PRECONDITION, _NOT_IMPLEMENTED = 429, 412, 501


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
        # Spreads the load of many pods; nothing secret hangs on it.
        return retry * self.wait * random.uniform(1.0, 1.5)  # noqa: S311


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


@dataclass(frozen=True)
class Call:
    """One request to Vault's API; `path` may carry a query."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    token: str = ""


class Transport:
    """Sends calls. Make it inside a running event loop and close it there."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._session = aiohttp.ClientSession(
            # No limit: a slow Vault must not keep the pods of another one waiting.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._sockets: dict[str, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close every connection."""
        for session in (self._session, *self._sockets.values()):
            await session.close()

    async def send(self, connection: Connection, call: Call) -> bytes:
        """The body of a successful answer. Raises RequestError and ConfigError."""
        url = request_url(base_url(connection.address), call.path)
        shown = f'{call.method.capitalize()} "{url}"'
        try:
            async with asyncio.timeout(self._patience.timeout):
                return await self._persist(connection, call, url)
        except TimeoutError:
            raise RequestError(f"{shown}: context deadline exceeded") from None
        except aiohttp.ClientError as error:
            raise RequestError(f"{shown}: {describe(error, url)}") from None

    async def _persist(self, connection: Connection, call: Call, url: URL) -> bytes:
        retry = 0
        while True:
            retry += 1
            try:
                return await self._once(connection, call, url)
            except RequestError as error:
                if retry > self._patience.retries or not _passing(error.status):
                    raise
            except aiohttp.ClientError as error:
                if retry > self._patience.retries or _hopeless(error):
                    raise
            # A back-off between tries; the time-out around it still holds.
            await asyncio.sleep(self._patience.before(retry))

    async def _once(self, connection: Connection, call: Call, url: URL) -> bytes:
        headers = {"X-Vault-Request": "true"}
        if call.token:
            headers["X-Vault-Token"] = call.token
        if connection.namespace:
            headers["X-Vault-Namespace"] = connection.namespace
        data = None if call.body is None else json.dumps(call.body).encode()
        secure = url.scheme == "https"
        async with self._session_for(connection).request(
            call.method,
            url,
            headers=headers,
            data=data,
            ssl=tls_context(connection) if secure else True,
            server_hostname=connection.server_name or None if secure else None,
            # Another host must not be handed the token.
            allow_redirects=False,
        ) as answer:
            body = await _read(answer)
            if not 200 <= answer.status < 300:
                raise _refusal(call.method, url, answer, body)
            return body

    def _session_for(self, connection: Connection) -> aiohttp.ClientSession:
        if not connection.address.startswith(UNIX):
            return self._session
        path = connection.address.removeprefix(UNIX)
        if path not in self._sockets:
            self._sockets[path] = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._sockets[path]


def request_url(base: URL, path: str) -> URL:
    """`path` below the address; /v1 is put in front where it is missing."""
    path, _, query = path.partition("?")
    path = "/" + path.removeprefix("/")
    if not path.startswith("/v1/"):
        path = "/v1" + path
    url = base.with_path(base.path.rstrip("/") + path)
    return url.with_query(parse_qsl(query, keep_blank_values=True)) if query else url


def describe(error: aiohttp.ClientError, url: URL) -> str:
    """A failed exchange in the words of Go's network library."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {url.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: x509: {_certificate(error)}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"remote error: tls: {error.os_error.strerror or type(error.os_error).__name__}"
    if isinstance(error, aiohttp.client_exceptions.UnixClientConnectorError):
        return f"dial unix {error.path}: connect: {_reason(error.os_error)}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"dial tcp {url.host}:{url.port}: connect: {_reason(error.os_error)}"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "EOF"
    return type(error).__name__


def _reason(error: OSError) -> str:
    """The kernel's words; asyncio puts a sentence with the address in their place."""
    number = error.errno
    if number is None:
        # Several addresses were tried: "Multiple exceptions: [Errno 111] …, [Errno 111] …".
        found = _ERRNO.search(str(error))
        number = int(found[1]) if found else None
    return os.strerror(number).lower() if number else type(error).__name__


def _certificate(error: aiohttp.ClientConnectorCertificateError) -> str:
    found = error.certificate_error
    reason = getattr(found, "verify_message", "") or type(found).__name__
    other = _OTHER_NAME.search(reason)
    if other:
        return f"certificate is valid for other names, not {other[1]}"
    if "issuer" in reason or "self-signed" in reason or "self signed" in reason:
        return "certificate signed by unknown authority"
    return reason[:1].lower() + reason[1:]


def _passing(status: int) -> bool:
    """Whether another try may help with this answer."""
    return status in (_TOO_MANY, _PRECONDITION) or (status >= 500 and status != _NOT_IMPLEMENTED)


def _hopeless(error: aiohttp.ClientError) -> bool:
    return isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL) or (
        isinstance(error, aiohttp.ClientConnectorSSLError)
        and isinstance(error.os_error, ssl.SSLCertVerificationError)
    )


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise RequestError(f"the response is larger than {LARGEST_ANSWER} bytes")
    return bytes(body)


def _refusal(method: str, url: URL, answer: aiohttp.ClientResponse, body: bytes) -> RequestError:
    """The error of an answer that is not a success, as Vault's Go client words it."""
    namespace = answer.headers.get("X-Vault-Namespace", "")
    shown = f"Namespace: {namespace}\n" if namespace not in ("", "root/") else ""
    try:
        errors = json.loads(body)["errors"]
        lines, kind = "".join(f"* {line}" for line in errors or ()), "Errors"
    except (ValueError, TypeError, KeyError, RecursionError):
        lines, kind = body[:500].decode("utf-8", "replace"), "Raw Message"
    return RequestError(
        f"Error making API request.\n\n{shown}URL: {method} {url}\n"
        f"Code: {answer.status}. {kind}:\n\n{lines}",
        status=answer.status,
    )
