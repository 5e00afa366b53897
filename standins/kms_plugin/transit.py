"""Vault Transit: what the key is, and the wrapping and unwrapping of a few bytes.

Transit answers a failed decryption with little more than "400". Whether the version was
disallowed, the key deleted or made anew, or the ciphertext damaged is found out by reading
the key afterwards, because each calls for something else to be done.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from standins.common import gobase64
from standins.common.gojson import Number, whole
from standins.common.vault import Data
from standins.kms_plugin.errors import (
    Absent,
    Denied,
    NotOurs,
    Outdated,
    Problem,
    Refused,
    Unreachable,
    Unsuitable,
)
from standins.kms_plugin.login import Session
from standins.kms_plugin.vault import Vault

ABSENT = "absent"
LONGEST_TYPE = 40
_CIPHERTEXT = re.compile(r"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/]+={0,2}")
_VERSION = re.compile(r"v([1-9][0-9]{0,8}):([0-9A-Za-z:.+-]{1,64})")


@dataclass(frozen=True)
class Version:
    """One version of the key, told from the same number of another key by its birth."""

    number: int
    created: str

    def __str__(self) -> str:
        return f"v{self.number}:{self.created}"

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """The version that `str()` made this text of, or None."""
        found = _VERSION.fullmatch(text)
        return cls(int(found[1]), found[2]) if found else None


@dataclass(frozen=True)
class Key:
    """What Vault says about the key.

    `created` has the versions that may decrypt, from `decrypts_from` on. Those below are
    kept, too, down to `kept_from`.
    """

    latest: Version
    created: Mapping[int, str]
    kept_from: int
    decrypts_from: int
    encrypts_from: int

    def has(self, version: Version) -> bool:
        """Whether this very version is one of the key's."""
        return self.created.get(version.number) == version.created


class Transit:
    """One key of one Transit mount."""

    def __init__(self, vault: Vault, session: Session, mount: str, name: str) -> None:
        self._vault = vault
        self._session = session
        self._mount = mount
        self._name = name
        self.label = f"{mount}/{name}"

    async def key(self) -> Key:
        """The key as it is now. Raises Problem."""
        answer = await self._send("GET", "keys")
        found = _key(answer.get("data"))
        if isinstance(found, str):
            raise Unsuitable(f"the key {self.label} {found}; make one of type aes256-gcm96")
        return found

    async def encrypt(self, plaintext: bytes, version: Version) -> bytes:
        """Transit's ciphertext, "vault:vN:…". Raises Problem."""
        body = {"plaintext": base64.b64encode(plaintext).decode(), "key_version": version.number}
        try:
            answer = await self._send("POST", "encrypt", body)
        except (Denied, Refused) as error:
            # Vault answers 403 when the key is gone, as encrypting would have to create it.
            raise await self._explained(error, version, "encrypt") from None
        found = _text(answer, "ciphertext")
        if version_of(found) != version.number:
            raise Unreachable(
                f"Vault at {self._vault.address} answers an encryption with version"
                f" {version.number} with something else; is it a Vault at all?"
            )
        return found.encode()

    async def decrypt(self, ciphertext: bytes, version: Version) -> bytes:
        """What was encrypted. Raises Problem."""
        text = ciphertext.decode("ascii", "replace")
        if version_of(text) != version.number:
            raise NotOurs(
                f"the ciphertext is not of version {version.number} of {self.label}, as its"
                " key_id says: the object was damaged, or another provider wrote it"
            )
        try:
            answer = await self._send("POST", "decrypt", {"ciphertext": text})
        except Refused as error:
            raise await self._explained(error, version, "decrypt") from None
        try:
            plaintext = gobase64.decode(_text(answer, "plaintext"))
        except ValueError:
            plaintext = b""
        if not plaintext:
            raise Unreachable(
                f"Vault at {self._vault.address} answers a decryption without the plaintext"
            )
        return plaintext

    async def _explained(self, error: Problem, version: Version, verb: str) -> Problem:
        """What lies behind Vault's refusal to use this version."""
        try:
            key = await self.key()
        except (Absent, Unsuitable) as found:
            return found
        except Problem:
            return error
        where = f"version {version.number} of {self.label}"
        if version.number < key.kept_from or version.number > key.latest.number:
            return Outdated(
                f"{where} is not in Vault, which has {max(1, key.kept_from)} to"
                f" {key.latest.number}: trimmed, or restored from an older backup"
            )
        if version.number < key.decrypts_from:
            return Outdated(
                f"{where} may not decrypt any more (min_decryption_version is"
                f" {key.decrypts_from}); lower that, rewrite the objects, raise it again"
            )
        if not key.has(version):
            return Outdated(
                f"{where} is not the one that encrypted this: the key was deleted and another"
                " made under its name; restore the old one from a backup"
            )
        if verb == "encrypt" and 0 < version.number < key.encrypts_from:
            return Outdated(
                f"{where} may not encrypt any more (min_encryption_version is"
                f" {key.encrypts_from}); the next Status names version {key.latest.number}"
            )
        if isinstance(error, Refused):
            return Refused(
                f"Vault cannot {verb} with {where} ({error}); if that version is right, the"
                " object was damaged or is another cluster's"
            )
        return error

    async def _send(self, method: str, operation: str, body: Data | None = None) -> Data:
        """Vault's answer; a 403 means one new login and one more try."""
        path = f"{self._mount}/{operation}/{self._name}"
        token = await self._session.token()
        try:
            return await self._vault.send(method, path, body, token)
        except Denied:
            another = await self._session.replace(token)
            if not another:
                raise
        return await self._vault.send(method, path, body, another)


def version_of(ciphertext: str) -> int:
    """The key's version in a ciphertext of Transit; 0 if it is none."""
    found = _CIPHERTEXT.fullmatch(ciphertext)
    return int(found[1]) if found else 0


def _text(answer: Data, name: str) -> str:
    """A text in the data of an answer, "" where there is none."""
    data = answer.get("data")
    found = data.get(name) if isinstance(data, dict) else None
    return found if isinstance(found, str) and not isinstance(found, Number) else ""


def _key(data: Any) -> Key | str:
    """The key in Vault's description, or what is wrong with it."""
    try:
        if not (data["supports_encryption"] is True and data["supports_decryption"] is True):
            return f"is of type {str(data.get('type'))[:LONGEST_TYPE]}, which cannot encrypt"
        if data["derived"] is not False:
            return "is derived and would need a context for each call"
        created = {whole(Number(number)): _birth(entry) for number, entry in data["keys"].items()}
        latest = whole(data["latest_version"])
        return Key(
            latest=Version(latest, created[latest]),
            created=created,
            kept_from=whole(data["min_available_version"]),
            decrypts_from=whole(data["min_decryption_version"]),
            encrypts_from=whole(data["min_encryption_version"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return "is described by Vault in a way that this plugin does not understand"


def _birth(entry: Any) -> str:
    """The creation time: a number of seconds, or in a description of a key pair."""
    text = str(entry["creation_time"]) if isinstance(entry, dict) else str(whole(entry))
    if not Version.parse(f"v1:{text}"):
        raise ValueError("no creation time")
    return text
