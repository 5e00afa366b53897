"""HTTP to Vault, for every stand-in: URLs, one session, and errors in the Go client's words.

Each request carries its own settings, so that hundreds of pods share a handful of connections.
What is decided elsewhere: time limits, repetitions, and what an answer means. Error texts are
those of Vault's Go client and of Go's network library, because people search for them and labs
look for them in events. They hold Vault's `errors` and nothing else that a server sent.
"""

from __future__ import annotations

import os
import posixpath
import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from standins.common import gojson
from standins.common.connection import UNIX, Connection, base_url, tls_context

Data = dict[str, Any]
Query = Mapping[str, Collection[str]] | None

# More than a Secret or a volume may hold; a bigger answer is of no use.
LARGEST_ANSWER = 8 * 1024 * 1024
# What Go's net/url leaves as it is in a path, beside letters and digits.
_PLAIN_IN_PATH = "/-_.~$&+,:;=@"
# What Go's net/http lets into no header.
_NO_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_OTHER_NAME = re.compile(r"certificate is not valid for '([^']*)'")
_TOO_MANY, _PRECONDITION, _NOT_IMPLEMENTED = 429, 412, 501


class VaultError(Exception):
    """Vault refused, or gave no answer of use.

    `status` is 0 when there was no answer, and `cause` then says why without method and URL.
    `errors` are Vault's own; `body` is the rest of its answer, which no text may quote.
    `passing` tells whether another try may help.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int = 0,
        errors: tuple[str, ...] = (),
        body: Data | None = None,
        cause: str = "",
        passing: bool = False,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.errors = errors
        self.body = body or {}
        self.cause = cause
        self.passing = passing

    @property
    def forbidden(self) -> bool:
        """The token or its policies do not allow it."""
        return self.status == 403


@dataclass(frozen=True)
class Reply:
    """An answer: its status, and its JSON object with numbers as `gojson.Number`."""

    status: int
    body: Data = field(repr=False)


class Vault:
    """Sends requests. Close it in the event loop that it was used in."""

    def __init__(self, *, connections: int = 0, keep_open: float = 15.0) -> None:
        """`connections` to one Vault at most, 0 for no limit; idle ones stay `keep_open` s."""
        self.requests = 0
        self._connections = connections
        self._keep_open = keep_open
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()

    async def send(
        self,
        to: Connection,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Query = None,
        token: str = "",
        namespace: str = "",
    ) -> Reply:
        """The answer to a request below /v1. `namespace` goes before that of the connection.

        Raises VaultError, also for an answer that is no success, and BadConnection.
        """
        url = request_url(to.address, path, query)
        headers = {**dict(to.headers), "X-Vault-Request": "true"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if token:
            headers["X-Vault-Token"] = token
        if namespace or to.namespace:
            headers["X-Vault-Namespace"] = namespace or to.namespace
        for name, value in headers.items():
            if _NO_HEADER.search(value):
                cause = f'net/http: invalid header field value for "{name}"'
                raise VaultError(f'{method.capitalize()} "{url}": {cause}', cause=cause)
        secure = url.scheme == "https"
        self.requests += 1
        try:
            async with self._session(to.address).request(
                method,
                url,
                headers=headers,
                data=None if body is None else gojson.dumps(body).encode(),
                ssl=tls_context(to) if secure else True,
                server_hostname=to.server_name or None if secure else None,
                # Another host must not be handed the token.
                allow_redirects=False,
            ) as answer:
                found = _parsed(await _read(answer))
        except (aiohttp.ClientError, OSError) as error:
            cause = describe(error, url)
            text = f'{method.capitalize()} "{url}": {cause}'
            raise VaultError(text, cause=cause, passing=not _hopeless(error)) from None
        if not 200 <= answer.status < 300:
            raise refusal(
                method, url, answer.status, found, answer.headers.get("X-Vault-Namespace", "")
            )
        if found is None:
            raise VaultError("the response is not a JSON object", status=answer.status)
        return Reply(answer.status, found)

    def _session(self, address: str) -> aiohttp.ClientSession:
        """The one for all Vaults on the network, or one for a Vault agent's socket."""
        socket = address.removeprefix(UNIX) if address.startswith(UNIX) else ""
        if socket not in self._sessions:
            connector: aiohttp.BaseConnector = (
                aiohttp.UnixConnector(socket)
                if socket
                # No limit over all: a slow Vault must not keep the users of another waiting.
                else aiohttp.TCPConnector(
                    limit=0, limit_per_host=self._connections, keepalive_timeout=self._keep_open
                )
            )
            self._sessions[socket] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._sessions[socket]


def request_url(address: str, path: str, query: Query = None) -> URL:
    """`path` below /v1 of the address, joined and escaped as Vault's Go client does it.

    That client cleans the path: `kubernetes/` and `//` are harmless. Nothing in a path begins
    a query. Raises BadConnection.
    """
    base = base_url(address)
    clean = posixpath.normpath(f"{base.path}/v1/{path}").replace("//", "/", 1)
    text = str(base.origin()) + quote(clean, safe=_PLAIN_IN_PATH, errors="surrogatepass")
    if query:
        text += "?" + urlencode(sorted(query.items()), doseq=True)
    return URL(text, encoded=True)


def deadline_exceeded(to: Connection, method: str, path: str, query: Query) -> VaultError:
    """The error of a request for which the caller's time limit is over."""
    url = request_url(to.address, path, query)
    return VaultError(f'{method.capitalize()} "{url}": context deadline exceeded')


def describe(error: Exception, url: URL) -> str:
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


def refusal(
    method: str, url: URL, status: int, found: Data | None, namespace: str = ""
) -> VaultError:
    """The error of an answer that is no success, as Vault's Go client words it."""
    shown = f"Namespace: {namespace}\n" if namespace not in ("", "root/") else ""
    listed = None if found is None else found.get("errors")
    errors = tuple(str(line) for line in listed) if isinstance(listed, list) else ()
    kind, lines = "Errors", "".join(f"* {line}" for line in errors)
    if 300 <= status < 400:
        lines = "* a redirect, and none is followed; is this the address of Vault itself?"
    elif found is None:
        # The Go client quotes it; a page of a proxy or a secret may be in there.
        kind, lines = "Raw Message", "(not JSON, and not shown)"
    return VaultError(
        f"Error making API request.\n\n{shown}URL: {method} {url}\n"
        f"Code: {status}. {kind}:\n\n{lines}",
        status=status,
        errors=errors,
        body=found,
        passing=status in (_TOO_MANY, _PRECONDITION)
        or (status >= 500 and status != _NOT_IMPLEMENTED),
    )


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


def _hopeless(error: Exception) -> bool:
    return isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL) or (
        isinstance(error, aiohttp.ClientConnectorSSLError)
        and isinstance(error.os_error, ssl.SSLCertVerificationError)
    )


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise VaultError(f"the response is larger than {LARGEST_ANSWER} bytes")
    return bytes(body)


def _parsed(content: bytes) -> Data | None:
    """The JSON object of an answer, {} for an empty one, None for anything else."""
    try:
        found = gojson.loads(content) if content.strip() else {}
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
