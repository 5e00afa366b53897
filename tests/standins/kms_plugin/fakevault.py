"""A Vault with AppRole and Transit, in the words of the real one, over real HTTP.

Its keys really encrypt (AES-GCM), so a wrong version or a damaged ciphertext fails as it
does in Vault. Delay, failures and cut connections come from the fake of the CSI tests.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
import os
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.standins.csi_provider import fakevault

MOUNT, NAME, APPROLE = "lab00-transit", "kubernetes", "lab00-approle"
ROLE_ID, SECRET_ID = "canary-role-id", "canary-secret-id"
_births = itertools.count(1_790_000_000)


@dataclass
class FakeKey:
    """Versions by number: key bytes and time of creation."""

    versions: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    kept_from: int = 0
    decrypts_from: int = 1
    encrypts_from: int = 0
    kind: dict[str, Any] = field(default_factory=dict)

    def rotate(self) -> None:
        """Add a version, as transit/keys/NAME/rotate does."""
        self.versions[len(self.versions) + 1] = (os.urandom(32), next(_births))

    @property
    def latest(self) -> int:
        return max(self.versions)


class FakeVault(fakevault.FakeVault):
    """`refused` has paths that the policy does not allow; the rest is state and counters."""

    def __init__(self) -> None:
        super().__init__()
        self.mounts = {MOUNT}
        self.methods = {APPROLE}
        self.keys = {NAME: FakeKey()}
        self.key.rotate()
        self.secret_ids = {SECRET_ID}
        self.sealed = False
        self.refused: set[str] = set()
        self.lease: dict[str, Any] = {"lease_duration": 1200, "renewable": True}
        self.calls: Counter[str] = Counter()
        self.wrong_logins = 0
        self.said = ""

    @property
    def key(self) -> FakeKey:
        return self.keys[NAME]

    def remake(self) -> None:
        """Delete the key and make one of the same name."""
        self.keys[NAME] = FakeKey()
        self.key.rotate()

    @asynccontextmanager
    async def served(self, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[str]:
        """Serve on 127.0.0.1 until the block ends, or until `stop`."""
        async with AsyncExitStack() as self._stack:
            yield await self._stack.enter_async_context(super().served(tls, port))

    async def stop(self) -> None:
        """End as a process does: connections go, the port is free."""
        await self._stack.aclose()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/v1/")
        self.calls[path] += 1
        if self.sealed:
            return _errors(503, "Vault is sealed")
        body = await request.json() if request.body_exists else {}
        if path.startswith("auth/") and path.endswith("/login"):
            return self._approle(path.split("/")[1], body)
        token = request.headers.get("X-Vault-Token", "")
        if token not in self.tokens or path in self.refused:
            return _errors(403, "1 error occurred:\n\t* permission denied\n\n")
        if path == "auth/token/renew-self":
            return self._lease(token)
        if path == "auth/token/lookup-self":
            return _data({"ttl": 1200})
        if path == "auth/token/revoke-self":
            self.tokens.discard(token)
            return web.Response(status=204)
        mount, operation, name = path.split("/")
        if mount not in self.mounts:
            return _errors(404, f'no handler for route "{path}". route entry not found.')
        work = {"keys": self._keys, "encrypt": self._encrypt, "decrypt": self._decrypt}
        return work[operation](name, body)

    def _approle(self, mount: str, body: dict[str, str]) -> web.Response:
        if mount not in self.methods or self.wrong_logins >= 5:
            return _errors(403, "permission denied")
        if body["role_id"] != ROLE_ID or body["secret_id"] not in self.secret_ids:
            self.wrong_logins += 1
            return _errors(400, f"invalid role or secret ID {self.said and body['secret_id']}")
        token = f"hvs.canary-token-{next(self._serial)}"
        self.tokens.add(token)
        return self._lease(token)

    def _lease(self, token: str) -> web.Response:
        return web.json_response({"auth": {"client_token": token, **self.lease}})

    def _keys(self, name: str, body: dict[str, Any]) -> web.Response:
        key = self.keys.get(name)
        if key is None:
            return _errors(404)
        return _data(
            {
                "name": name,
                "type": "aes256-gcm96",
                "derived": False,
                # The others are archived, and not told of.
                "keys": {
                    str(number): birth
                    for number, (_, birth) in key.versions.items()
                    if number >= key.decrypts_from
                },
                "min_available_version": key.kept_from,
                "latest_version": key.latest,
                "min_decryption_version": key.decrypts_from,
                "min_encryption_version": key.encrypts_from,
                "supports_encryption": True,
                "supports_decryption": True,
                **key.kind,
            }
        )

    def _encrypt(self, name: str, body: dict[str, Any]) -> web.Response:
        key = self.keys.get(name)
        if key is None:
            # The policy has "update" and making the key would be "create".
            return _errors(403, "1 error occurred:\n\t* permission denied\n\n")
        number = body["key_version"]
        if number > key.latest:
            return _errors(
                400, "requested version for encryption is higher than the latest key version"
            )
        if number < key.encrypts_from:
            return _errors(
                400,
                "requested version for encryption is less than the minimum encryption key version",
            )
        nonce = os.urandom(12)
        sealed = AESGCM(key.versions[number][0]).encrypt(
            nonce, base64.b64decode(body["plaintext"]), None
        )
        text = base64.b64encode(nonce + sealed).decode()
        return _data({"ciphertext": f"vault:v{number}:{text}", "key_version": number})

    def _decrypt(self, name: str, body: dict[str, Any]) -> web.Response:
        key = self.keys.get(name)
        if key is None:
            return _errors(400, "encryption key not found")
        number = int(body["ciphertext"].split(":")[1][1:])
        if number > key.latest:
            return _errors(400, "invalid ciphertext: version is too new")
        if number < key.decrypts_from:
            return _errors(400, "ciphertext or signature version is disallowed by policy (too old)")
        try:
            raw = base64.b64decode(body["ciphertext"].split(":")[2])
        except binascii.Error:
            return _errors(400, "invalid ciphertext: could not decode base64")
        if len(raw) < 12:
            return _errors(400, "invalid ciphertext length")
        try:
            plain = AESGCM(key.versions[number][0]).decrypt(raw[:12], raw[12:], None)
        except InvalidTag:
            said = f" in {body['ciphertext']}" if self.said else ""
            return _errors(400, f"cipher: message authentication failed{said}")
        return _data({"plaintext": base64.b64encode(plain).decode()})


async def until(true: Any) -> None:
    """Give other tasks a turn until `true()`, for five seconds at most."""
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


def _data(data: dict[str, Any]) -> web.Response:
    return web.json_response({"request_id": "r-1", "data": data, "warnings": None})


def _errors(status: int, *lines: str) -> web.Response:
    return web.json_response({"errors": list(lines)}, status=status)
