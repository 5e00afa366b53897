"""Finding the secrets of a KV store, of either version, without storing any value.

A secret of version 1 is an HMAC of its data. One of version 2 is its settings, its custom
metadata and its versions, each with the HMAC of its data. Times of creation do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.base.wait import wait_for
from harness.snapshot.model import Item
from harness.snapshot.reader import VaultReader

_UPGRADE_SECONDS = 10
_SETTINGS = ("cas_required", "custom_metadata", "delete_version_after", "max_versions")


def is_kv2(mount: Item) -> bool:
    """Whether a mount is a KV store of version 2."""
    content = mount.copy or {}
    version = (content.get("options") or {}).get("version")
    return content.get("type") == "kv" and version == "2"


def wait_for_kv2(vault: VaultReader, at: str) -> None:
    """A KV store answers 400 for a moment after it was made version 2."""
    wait_for(
        f"the KV store {at} to finish its upgrade to version 2",
        lambda: vault.read(f"{at}config", also=(400,)) is not None,
        timeout=_UPGRADE_SECONDS,
    )


def secrets(vault: VaultReader, mount: Item) -> Iterator[Item]:
    """Every secret of a KV store."""
    at = mount.name
    if not is_kv2(mount):
        for name in vault.walk(at):
            data = vault.read(at + name)
            if data is not None:
                sum_ = vault.copies.keep(data)
                yield Item(
                    at + name, "secret", at + name, sum_, "kv1", kept=True, parent=mount.path
                )
        return
    wait_for_kv2(vault, at)
    expires = _expires(vault.read(f"{at}config") or {})
    for name in vault.walk(f"{at}metadata/"):
        content = _secret(vault, at, name, expires)
        if content is not None:
            sum_ = vault.copies.sum(without_hidden(content))
            path = f"{at}metadata/{name}"
            yield Item(path, "secret", at + name, sum_, "kv2", content, parent=mount.path)


def _secret(vault: VaultReader, at: str, name: str, expires: bool) -> dict[str, Any] | None:
    """Settings, custom metadata and versions of a secret, each version's data as an HMAC."""
    answer = vault.read(f"{at}metadata/{name}")
    if answer is None:
        return None
    expires = expires or _expires(answer)
    versions = {}
    for number in sorted(answer.get("versions") or {}, key=int):
        entry = answer["versions"][number]
        state = version_state(entry, expires)
        identity = f"{at}{name}@{number}@{entry.get('created_time')}"
        held = "" if state == "destroyed" else vault.copies.recall(identity)
        if state == "alive" and not held:
            data = vault.read(f"{at}data/{name}", version=number)
            held = vault.copies.keep(data.get("data"), identity) if data else ""
        versions[number] = {"state": state, "sum": held}
    return {
        "current": answer.get("current_version"),
        "settings": {setting: answer.get(setting) for setting in _SETTINGS},
        "versions": versions,
    }


def _expires(settings: Mapping[str, Any]) -> bool:
    """Whether a store, or a secret, gives each version a time for its deletion."""
    return settings.get("delete_version_after") not in (None, "0s")


def without_hidden(secret: Mapping[str, Any]) -> dict[str, Any]:
    """A KV 2 secret without the HMACs of deleted versions: they are known for some only."""
    versions = {
        number: version if version["state"] == "alive" else {**version, "sum": ""}
        for number, version in secret["versions"].items()
    }
    return {**secret, "versions": versions}


def version_state(entry: Mapping[str, Any], expires: bool) -> str:
    """alive, deleted (it can be undeleted), destroyed or expiring, for one version's metadata.

    Vault deletes an expiring version when its time comes, which is not a change.
    """
    if entry.get("destroyed"):
        return "destroyed"
    if not entry.get("deletion_time"):
        return "alive"
    return "expiring" if expires else "deleted"
