"""Engines and auth methods of the Vault in memory that do something of their own.

An instance is put into `MemoryVault.engines` or `.auth` under its mount.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.fakes.vault_answers import NOTHING, Answer, Asked, Data, data, errors
from tests.fakes.vault_memory import DENIED, MemoryVault

_births = itertools.count(1_790_000_000)


@dataclass
class Database:
    """`creds/NAME` gives users with leases; `static-creds/NAME` one that Vault rotates itself."""

    vault: MemoryVault
    ttl: int = 60
    longest: int = 180
    rotated: float = 1_699_999_990.0
    period: int = 60

    def __call__(self, asked: Asked, path: str) -> Answer:
        if path.startswith("creds/"):
            number = next(self.vault.numbers)
            user = {"username": f"v-{number}", "password": f"pw-{number}"}
            return self.vault.new_lease(asked, self.ttl, self.longest, user)
        return data(self._static()) if path.startswith("static-creds/") else NOTHING

    def _static(self) -> Data:
        moment = datetime.fromtimestamp(int(self.rotated), UTC)
        return {
            "username": "app",
            "password": f"rotated-at-{int(self.rotated)}",
            "last_vault_rotation": f"{moment:%Y-%m-%dT%H:%M:%S}.123456789Z",
            "rotation_period": self.period,
            "ttl": max(int(self.rotated + self.period - self.vault.clock), 0),
        }


@dataclass
class Pki:
    """`issue/ROLE` and `revoke`; the certificates are texts that name what they are for."""

    vault: MemoryVault
    ttl: int = 3600
    chain: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)

    def __call__(self, asked: Asked, path: str) -> Answer:
        if not asked.writes:
            return errors(405, "unsupported operation")
        if path == "revoke":
            self.revoked.append(asked.body["serial_number"])
            return data({})
        number = next(self.vault.numbers)
        return data(
            {
                "certificate": f"CERT {number} {asked.body['common_name']}",
                "private_key": f"KEY {number}",
                "issuing_ca": "CA",
                "ca_chain": self.chain,
                "serial_number": f"0{number}:aa",
                "expiration": int(self.vault.clock + self.ttl),
                "private_key_type": "rsa",
            }
        )


@dataclass
class TransitKey:
    """Versions by number: key bytes and time of creation."""

    versions: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    kept_from: int = 0
    decrypts_from: int = 1
    encrypts_from: int = 0
    kind: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rotate()

    def rotate(self) -> None:
        """Add a version, as transit/keys/NAME/rotate does."""
        self.versions[len(self.versions) + 1] = (os.urandom(32), next(_births))

    @property
    def latest(self) -> int:
        return max(self.versions)


class Transit:
    """`keys`, `encrypt` and `decrypt` with keys that really encrypt (AES-GCM).

    So a wrong version or a damaged ciphertext fails as it does in Vault. With `says` its
    refusals repeat what was sent.
    """

    def __init__(self, *names: str) -> None:
        self.keys = {name: TransitKey() for name in names}
        self.says = False

    def __call__(self, asked: Asked, path: str) -> Answer:
        operation, _, name = path.partition("/")
        work = {"keys": self._describe, "encrypt": self._encrypt, "decrypt": self._decrypt}
        return work[operation](self.keys.get(name), asked.body)

    def _describe(self, key: TransitKey | None, body: Data) -> Answer:
        if key is None:
            return NOTHING
        return data(
            {
                "type": "aes256-gcm96",
                "derived": False,
                # The others are archived and not listed.
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

    def _encrypt(self, key: TransitKey | None, body: Data) -> Answer:
        if key is None:
            # The policy has "update" and making the key would be "create".
            return errors(403, DENIED)
        number = body["key_version"]
        wrong = "requested version for encryption is"
        if number > key.latest:
            return errors(400, f"{wrong} higher than the latest key version")
        if number < key.encrypts_from:
            return errors(400, f"{wrong} less than the minimum encryption key version")
        nonce = os.urandom(12)
        plain = base64.b64decode(body["plaintext"])
        text = base64.b64encode(
            nonce + AESGCM(key.versions[number][0]).encrypt(nonce, plain, None)
        ).decode()
        return data({"ciphertext": f"vault:v{number}:{text}", "key_version": number})

    def _decrypt(self, key: TransitKey | None, body: Data) -> Answer:
        if key is None:
            return errors(400, "encryption key not found")
        _, version, text = body["ciphertext"].split(":")
        number = int(version[1:])
        if number > key.latest:
            return errors(400, "invalid ciphertext: version is too new")
        if number < key.decrypts_from:
            return errors(400, "ciphertext or signature version is disallowed by policy (too old)")
        try:
            raw = base64.b64decode(text)
        except binascii.Error:
            return errors(400, "invalid ciphertext: could not decode base64")
        if len(raw) < 12:
            return errors(400, "invalid ciphertext length")
        try:
            plain = AESGCM(key.versions[number][0]).decrypt(raw[:12], raw[12:], None)
        except InvalidTag:
            said = f" in {body['ciphertext']}" if self.says else ""
            return errors(400, f"cipher: message authentication failed{said}")
        return data({"plaintext": base64.b64encode(plain).decode()})


@dataclass
class ServiceAccounts:
    """A Kubernetes auth method: accounts by their tokens, roles and whom they let in."""

    vault: MemoryVault
    accounts: dict[str, str] = field(default_factory=dict)
    bound: dict[str, set[str]] = field(default_factory=dict)

    def __call__(self, body: Data) -> Answer:
        if body["role"] not in self.bound:
            return errors(400, f'invalid role name "{body["role"]}"')
        account = self.accounts.get(body["jwt"])
        if account is None:
            return errors(403, "permission denied")
        if account not in self.bound[body["role"]]:
            return errors(403, "service account name not authorized")
        return self.vault.new_token("auth/kubernetes/login")


@dataclass
class AppRole:
    """Role ID, secret IDs, and the lock-out after five wrong ones."""

    vault: MemoryVault
    role_id: str
    secret_ids: set[str]
    wrong: int = 0
    says: bool = False

    def __call__(self, body: Data) -> Answer:
        if self.wrong >= 5:
            return errors(403, "permission denied")
        if body["role_id"] != self.role_id or body["secret_id"] not in self.secret_ids:
            self.wrong += 1
            return errors(
                400, f"invalid role or secret ID {body['secret_id'] if self.says else ''}"
            )
        return self.vault.new_token("auth/approle/login")
