"""Restoring a KV version 2 secret: data, versions, deletions and settings.

Vault's version numbers only rise, so one version too many means that the secret is written
again, version by version, from what Vault still has or from the copies. Only the times of
creation differ afterwards. Where no version has been added, deletions are undone in place.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from harness.base.errors import LabError
from harness.snapshot.model import Item
from harness.snapshot.reader import VaultReader

Data = dict[str, Any]

# Stands in for versions whose data is destroyed, deleted or trimmed for good.
_BLANK: Data = {}


def put_back_secret(item: Item, present: Item | None, vault: VaultReader) -> None:
    """Restore the secret that `item` describes. Raises LabError when its data is lost."""
    at, _, name = item.path.partition("metadata/")
    secret = _Secret(vault, at, name)
    wanted = item.copy
    versions: dict[str, dict[str, str]] = wanted["versions"]
    now: Data = present.copy if present else {}
    if present and _only_marks(versions, now["versions"]) and wanted["current"] == now["current"]:
        secret.mark(versions, now["versions"])
        secret.settings(wanted["settings"])
    else:
        _write_again(secret, item, now)
        secret.mark(versions, {number: {"state": "alive"} for number in versions})


def _only_marks(wanted: Data, now: Data) -> bool:
    """Whether the same data is there, so that delete, undelete and destroy are enough."""
    if wanted.keys() != now.keys():
        return False
    for number, version in wanted.items():
        found = now[number]
        if found["state"] == "destroyed" != version["state"]:
            return False
        if found["sum"] and version["sum"] and found["sum"] != version["sum"]:
            return False
    return True


def _write_again(secret: _Secret, item: Item, now: Data) -> None:
    versions: dict[str, dict[str, str]] = item.copy["versions"]
    # Everything is read before anything is deleted.
    found = {
        number: secret.data(number, version, (now.get("versions") or {}).get(number))
        for number, version in versions.items()
    }
    lost = [number for number, data in found.items() if data is None]
    if lost:
        raise LabError(
            f"{item} cannot be put back: the data of version {', '.join(lost)} is lost",
            where=item.path,
            hint="the step that wrote it has to do it again: ./lab reset of the whole lab",
        )
    secret.remove()
    secret.settings(item.copy["settings"])
    for number in range(1, int(item.copy["current"] or 0) + 1):
        secret.write(found.get(str(number)) or _BLANK, after=number - 1)


class _Secret:
    """One secret of one KV store of version 2."""

    def __init__(self, vault: VaultReader, at: str, name: str) -> None:
        self._vault = vault
        self._at = at
        self._name = name

    def data(self, number: str, version: dict[str, str], now: Data | None) -> Data | None:
        """The data that a version had; None when it is lost, blank when it is destroyed."""
        if version["state"] == "destroyed":
            return _BLANK
        if version["sum"]:
            kept: Data | None = self._vault.copies.find(version["sum"])
            return kept
        if now is None or now["state"] == "destroyed":
            return None
        data = self._read(number)
        if data is None:  # a deleted version: Vault shows its data only while it is undeleted
            self._post("undelete", {"versions": [int(number)]})
            data = self._read(number)
        return data

    def remove(self) -> None:
        """Delete the secret with all its versions."""
        self._request("DELETE", "metadata")

    def write(self, data: Data, after: int) -> None:
        """Write the version that follows version `after`, and no other."""
        self._post("data", {"data": data, "options": {"cas": after}})

    def settings(self, settings: Data) -> None:
        """Write the secret's settings and its custom metadata."""
        body = {**settings, "custom_metadata": settings.get("custom_metadata") or {}}
        self._post("metadata", body)

    def mark(self, wanted: dict[str, dict[str, str]], now: dict[str, dict[str, str]]) -> None:
        """Delete, undelete and destroy versions until their states are as wanted."""
        for word, state, unless in (
            ("destroy", "destroyed", "destroyed"),
            ("delete", "deleted", "deleted"),
            ("undelete", "alive", "alive"),
        ):
            numbers = [
                int(number)
                for number, version in wanted.items()
                if version["state"] == state and now[number]["state"] != unless
            ]
            if numbers:
                self._post(word, {"versions": numbers})

    def _read(self, number: str) -> Data | None:
        answer = self._vault.read(f"{self._at}data/{self._name}", version=number)
        return None if answer is None else dict(answer.get("data") or {})

    def _post(self, word: str, body: Data) -> None:
        self._request("POST", word, body)

    def _request(self, method: str, word: str, body: Data | None = None) -> None:
        path = quote(f"{self._at}{word}/{self._name}")
        self._vault.http.request(method, f"/v1/{path}", json=body)
