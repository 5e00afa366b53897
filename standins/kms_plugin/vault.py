"""One request to Vault: a time limit, few repetitions, and a name for each way to fail.

All requests of this plugin may be repeated without harm, so a lost connection or a
passing error is tried again while the time lasts. A sealed Vault is not: it does not
unseal itself within seconds. The CA is loaded again when its file changes.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import aiohttp

from standins.kms_plugin.errors import Absent, Denied, Refused, Slow, Unreachable

Data = dict[str, Any]

# An answer of Transit has a few hundred bytes, a key's description one line a version.
LARGEST_ANSWER = 1024 * 1024
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
        self._ca_file = ca_file
        self._server_name = server_name or None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(keepalive_timeout=KEEP_OPEN),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def send(self, method: str, path: str, body: Data | None = None, token: str = "") -> Data:
        """Vault's JSON answer, {} if it has none. `path` comes without /v1/.

        Raises Unreachable, Slow, Denied, Absent and Refused.
        """
        try:
            async with asyncio.timeout(self.timeout):
                return await self._persist(method, path, body, token)
        except TimeoutError:
            raise self.slow(self.timeout) from None

    def slow(self, seconds: float) -> Slow:
        """The error for having waited that long."""
        return Slow(
            f"Vault at {self.address} gave no answer within {seconds:g}s;"
            " look at its load and at the network"
        )

    async def _persist(self, method: str, path: str, body: Data | None, token: str) -> Data:
        for pause in (*PAUSES, None):
            try:
                return await self._once(method, path, body, token)
            except _Passing as error:
                problem = f"Vault at {self.address} is out of order: {error}"
            except aiohttp.ClientError as error:
                problem = f"Vault at {self.address} does not answer: {_reason(error)}"
                if not _worth_another_try(error):
                    break
            if pause is not None:
                # A back-off between tries; the time limit around it still holds.
                await asyncio.sleep(pause)
        raise Unreachable(f"{problem}; start it, or correct --vault-addr or --vault-ca-file")

    async def _once(self, method: str, path: str, body: Data | None, token: str) -> Data:
        headers = {"X-Vault-Request": "true"}
        if token:
            headers["X-Vault-Token"] = token
        secure = self.address.startswith("https:")
        async with self._session.request(
            method,
            f"{self.address}/v1/{path}",
            headers=headers,
            json=body,
            ssl=_trusting(self._ca_file, _stamp(self._ca_file)) if secure else True,
            server_hostname=self._server_name if secure else None,
            # Another host must not be handed the token.
            allow_redirects=False,
        ) as answer:
            found = _parsed(await _read(answer))
            if 200 <= answer.status < 300:
                return found
            raise self._refusal(answer.status, path, found, (token, *_texts(body or {})))

    def _refusal(self, status: int, path: str, found: Data, hidden: tuple[str, ...]) -> Exception:
        lines = found.get("errors")
        words = _quotable(lines if isinstance(lines, list) else [], hidden)
        if status == 503 and "sealed" in words:
            return Unreachable(f"Vault at {self.address} is sealed; unseal it")
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
        if status == 429 or status >= 500:
            return _Passing(f"it answers {status} {words}".rstrip())
        return Unreachable(
            f"{self.address} answers {status} to {path}, which Vault never does;"
            " correct --vault-addr"
        )


class _Passing(Exception):
    """An answer that another try may better."""


@lru_cache(maxsize=4)
def _trusting(ca_file: str, stamp: tuple[int, int]) -> ssl.SSLContext:
    del stamp  # part of the key only: another stamp is another context
    try:
        return trusting(ca_file)
    except ValueError as error:
        raise Unreachable(f"Vault's certificate cannot be checked: {error}") from None


def trusting(ca_file: str) -> ssl.SSLContext:
    """Trust what the CA in this file signed. Raises ValueError that says what is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise ValueError(f"{ca_file} holds no certificate in PEM") from None
    except OSError as error:
        raise ValueError(f"{ca_file}: {(error.strerror or 'cannot be read').lower()}") from None
    return context


def _stamp(file: str) -> tuple[int, int]:
    try:
        found = Path(file).stat()
    except OSError:
        return (0, 0)  # loading it says what is wrong
    return (found.st_mtime_ns, found.st_ino)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise Unreachable(f"Vault's answer is larger than {LARGEST_ANSWER} bytes")
    return bytes(body)


def _parsed(body: bytes) -> Data:
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _texts(values: Mapping[str, Any]) -> Iterator[str]:
    yield from (value for value in values.values() if isinstance(value, str))


def _quotable(lines: list[Any], hidden: tuple[str, ...]) -> str:
    """Vault's words on one line, unless they repeat something that was sent."""
    words = " ".join(" ".join(str(line) for line in lines).split())
    if any(value and value in words for value in hidden):
        return "its reason repeats what was sent and is not shown"
    return words[:LONGEST_QUOTE]


def _worth_another_try(error: aiohttp.ClientError) -> bool:
    """Whether the connection broke in use; one that cannot be made will not be made at once."""
    return not isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL)


def _reason(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        found = error.certificate_error
        return f"certificate refused ({getattr(found, 'verify_message', '') or 'not trusted'})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known here"
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        return os.strerror(error.os_error.errno).lower()
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "the connection was cut"
    return type(error).__name__
