"""Vault's HTTP API over aiohttp: one connection pool for each VaultConnection.

Nothing here blocks the event loop. There are no retries: the reconcilers retry, with a
backoff that people can see in the status. Error texts carry method, path, code and Vault's
own words, never a token or a body.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from standins.common import gojson
from standins.operator.timing import parse_duration

_CONNECTIONS = 16
_TIMEOUT = 60.0
# Longer than a request may take by default: then nobody waits on the old pool.
_LINGER = 120.0
# Vault's own answers to a denied or unknown lease; sys/leases/* answers 400 for the latter.
_LEASE_GONE = ("lease not found", "lease is not renewable", "lease expired")


class VaultError(Exception):
    """Vault refused, or could not be reached (`status` 0)."""

    def __init__(self, what: str, status: int, errors: list[str]) -> None:
        self.status = status
        self.errors = errors
        code = f"Code: {status}. " if status else ""
        super().__init__(f"{what}: {code}Errors: {'; '.join(errors) or 'none given'}")

    @property
    def forbidden(self) -> bool:
        """The token or its policies do not allow it."""
        return self.status == 403

    @property
    def lease_gone(self) -> bool:
        """The lease was revoked or has run out."""
        return self.status == 400 and any(
            text in error for error in self.errors for text in _LEASE_GONE
        )


@dataclass
class Answer:
    """The parts of Vault's answer that the operator uses."""

    data: dict[str, Any]
    lease_id: str = ""
    lease_duration: int = 0
    renewable: bool = False
    request_id: str = ""
    auth: dict[str, Any] = field(default_factory=dict, repr=False)
    wrap_info: dict[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"Answer(lease_id={self.lease_id!r}, keys={sorted(self.data)})"


def _answer(body: Mapping[str, Any]) -> Answer:
    return Answer(
        data=body.get("data") or {},
        lease_id=body.get("lease_id") or "",
        lease_duration=int(body.get("lease_duration") or 0),
        renewable=bool(body.get("renewable")),
        request_id=body.get("request_id") or "",
        auth=body.get("auth") or {},
        wrap_info=body.get("wrap_info") or {},
    )


@dataclass(frozen=True)
class Target:
    """A VaultConnection, resolved: the CA's text is in, references are gone."""

    address: str
    ca: str = ""
    tls_server_name: str = ""
    skip_tls_verify: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    timeout: str = ""

    def tls(self) -> ssl.SSLContext | bool:
        """The TLS settings; ValueError when the CA is no PEM certificate."""
        if not self.address.startswith("https:"):
            return True
        try:
            context = ssl.create_default_context(cadata=self.ca or None)
        except ssl.SSLError as error:
            raise ValueError(f"the CA certificate cannot be read: {error.reason}") from error
        if self.skip_tls_verify:
            # spec.skipTLSVerify is part of the interface; nothing in the labs sets it.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _session(target: Target) -> aiohttp.ClientSession:
    seconds = parse_duration(target.timeout) if target.timeout else _TIMEOUT
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=target.tls()),
        timeout=aiohttp.ClientTimeout(total=seconds),
        headers=dict(target.headers) | {"X-Vault-Request": "true"},
    )


class VaultApi:
    """Requests to one Vault. Tokens come with each call and are kept nowhere here."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.requests = 0
        self._session = _session(target)
        self._old: set[asyncio.Task[None]] = set()

    def retarget(self, target: Target) -> None:
        """Use `target` from now on; requests under way end with the old settings."""
        fresh, old = _session(target), self._session
        self.target, self._session = target, fresh

        async def close_later() -> None:
            await asyncio.sleep(_LINGER)
            await old.close()

        task = asyncio.create_task(close_later())
        self._old.add(task)
        task.add_done_callback(self._old.discard)

    async def close(self) -> None:
        """Close the pool."""
        for task in list(self._old):
            task.cancel()
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        namespace: str = "",
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer | None:
        """Vault's answer to `method` on `/v1/<path>`, None for nothing there; or VaultError."""
        what = f"{method} {self.target.address}/v1/{path}"
        sent = dict(headers or {})
        if token:
            sent["X-Vault-Token"] = token
        if namespace:
            sent["X-Vault-Namespace"] = namespace
        options: dict[str, Any] = {}
        if self.target.tls_server_name:
            options["server_hostname"] = self.target.tls_server_name
        if body is not None:
            options["data"] = gojson.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        self.requests += 1
        url = f"{self.target.address.rstrip('/')}/v1/{path.lstrip('/')}"
        try:
            async with self._session.request(
                method, url, params=params, headers=sent, allow_redirects=False, **options
            ) as reply:
                status, text = reply.status, await reply.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise VaultError(what, 0, [str(error) or type(error).__name__]) from error
        return _read(what, status, text)


def _read(what: str, status: int, text: str) -> Answer | None:
    try:
        body = gojson.loads(text) if text.strip() else {}
    except ValueError:
        # A proxy's page instead of Vault's JSON; its text may hold anything, so it stays out.
        raise VaultError(what, status, ["the answer is not JSON"]) from None
    if status == 404 and body.get("data"):
        # A deleted version of KV v2: no values, but metadata that says when it was deleted.
        return _answer(body)
    if status == 204 or (status == 404 and not body.get("errors")):
        return None
    # Seal status and health are plain bodies without the `data` envelope.
    if status < 300:
        enveloped = body.keys() & {"data", "auth", "lease_id", "request_id"}
        return _answer(body if enveloped else {"data": body})
    raise VaultError(what, status, [str(error) for error in body.get("errors") or []])
