"""KV version 2 of the Vault in memory: versions, their metadata, deletion and its undoing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.fakes.vault_answers import NOTHING, Answer, Asked, Data, data, listing

if TYPE_CHECKING:
    from tests.fakes.vault_memory import MemoryVault

SETTINGS = {
    "cas_required": False,
    "custom_metadata": None,
    "delete_version_after": "0s",
    "max_versions": 0,
}
DELETED = "2026-01-01T00:00:00Z"


def kv2(vault: MemoryVault, asked: Asked, at: str) -> Answer:
    """The answer of the store that is mounted at `at`."""
    word, _, name = asked.path.removeprefix(at).partition("/")
    key, method, body = at + name, asked.method, asked.body
    if word == "config":
        return _CONFIG if method == "GET" else vault.document(method, f"{at}config", body)
    if method == "LIST":
        return listing([one for one in vault.secrets if one.startswith(at)], key)
    if word == "metadata" and method == "DELETE":
        vault.secrets.pop(key, None)
        return Answer(204)
    if method == "GET":
        return _read(vault.secrets.get(key), word, asked.query)
    new: Data = {"settings": dict(SETTINGS), "versions": {}}
    secret = vault.secrets.setdefault(key, new)
    if word == "metadata":
        secret["settings"] |= {**body, "custom_metadata": body["custom_metadata"] or None}
    elif word == "data":
        secret["versions"][str(len(secret["versions"]) + 1)] = {
            "data": body["data"],
            "state": "alive",
            "created": str(len(vault.calls)),
        }
    else:
        for number in body["versions"]:
            version = secret["versions"][str(number)]
            version["state"] = {"undelete": "alive", "delete": "deleted"}.get(word, "destroyed")
            if version["state"] == "destroyed":
                version["data"] = None
    return Answer(204)


def _read(secret: Data | None, word: str, query: Mapping[str, Any]) -> Answer:
    if secret is None:
        return NOTHING
    versions: Data = secret["versions"]
    marks = {
        number: {
            "created_time": version["created"],
            "destroyed": version["state"] == "destroyed",
            "deletion_time": DELETED if version["state"] == "deleted" else "",
        }
        for number, version in versions.items()
    }
    if word != "data":
        found = {**secret["settings"], "current_version": len(versions), "versions": marks}
        return data(found)
    number = str(query.get("version") or len(versions))
    if number not in versions:
        return NOTHING
    alive = versions[number]["state"] == "alive"
    value = versions[number]["data"] if alive else None
    metadata = {"version": int(number), **marks[number]}
    # A version that is deleted has no values; when it was deleted is told all the same.
    return Answer(200 if alive else 404, {"data": {"data": value, "metadata": metadata}})


_CONFIG = data({"max_versions": 0, "delete_version_after": "0s"})
