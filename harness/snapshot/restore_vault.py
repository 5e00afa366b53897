"""Carrying out one action of a reset in Vault.

What Vault shows is written back from the inventory's copy, KV data from the secret copies.
What Vault never shows (a database password, a key) cannot be written again; the error
names it, and the lab's own `undo` has to restore it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from harness.base.errors import LabError
from harness.clients.vault import TIMEOUT_SECONDS, VaultRefused, VaultUnreachable
from harness.snapshot.kv import is_kv2, wait_for_kv2
from harness.snapshot.model import Item
from harness.snapshot.plan import Action
from harness.snapshot.reader import VaultReader
from harness.snapshot.restore_kv import put_back_secret
from harness.snapshot.vault_kinds import Kind, body_of, find_kind

REVOKE_SECONDS = 5.0


def perform(action: Action, vault: VaultReader) -> str:
    """Do `action`; return a sentence that says what was done. Raises LabError."""
    if action.before is None:
        assert action.after is not None
        return _remove(action.after, vault)
    item = action.before
    if item.kind in ("mount", "auth method"):
        _mount(item, action.after, vault)
    elif item.kind == "kv1":
        _send(vault, "POST", item.path, _kept(item, vault))
    elif item.kind == "kv2":
        put_back_secret(item, action.after, vault)
    else:
        _write(item, action.after, vault)
    return str(action)


# -- removing -------------------------------------------------------------------------------


def _remove(item: Item, vault: VaultReader) -> str:
    done = f"removed {item}"
    match item.kind:
        case "token":
            accessor = item.path.rpartition("/")[2]
            _send(vault, "POST", "auth/token/revoke-accessor", {"accessor": accessor}, gone=True)
            return f"revoked {item}"
        case "lease":
            return _revoke(item.name, vault)
        case "secret-id":
            role, _, accessor = item.path.rpartition("/secret-id/")
            path = f"{role}/secret-id-accessor/destroy"
            _send(vault, "POST", path, {"secret_id_accessor": accessor}, gone=True)
        case "transit:key":
            _send(vault, "POST", f"{item.path}/config", {"deletion_allowed": True})
            _send(vault, "DELETE", item.path)
        case _:
            _send(vault, "DELETE", item.path.rstrip("/"), gone=True)
    return done


def _revoke(lease: str, vault: VaultReader) -> str:
    """Revoke a lease; when its engine cannot (the database is gone), make Vault forget it."""
    try:
        body = {"lease_id": lease, "sync": True}
        _send(vault, "POST", "sys/leases/revoke", body, gone=True, timeout=REVOKE_SECONDS)
        return f"revoked lease {lease}"
    except VaultRefused:
        _send(vault, "POST", f"sys/leases/revoke-force/{lease}", gone=True)
        return f"forgot lease {lease}: what gave it does not answer any more"
    except VaultUnreachable as error:
        raise LabError(
            f"lease {lease} was not revoked within {REVOKE_SECONDS:.0f}s:"
            " the server behind it hangs",
            where=vault.http.addr,
            hint="end that server, then the same command again",
        ) from error


# -- putting back ---------------------------------------------------------------------------


def _mount(item: Item, present: Item | None, vault: VaultReader) -> None:
    content = item.copy
    if present is None:
        body = {name: value for name, value in content.items() if value is not None}
        _send(vault, "POST", item.path.rstrip("/"), body)
        if is_kv2(item):
            wait_for_kv2(vault, item.name)
        return
    body = {**_tuning(content, present.copy), "description": content.get("description") or ""}
    if content.get("options"):
        body["options"] = content["options"]
    _send(vault, "POST", f"{item.path}tune", body)


def _tuning(content: dict[str, Any], present: dict[str, Any]) -> dict[str, Any]:
    """A mount's configuration as it is written; what was not set is emptied."""
    wanted, now = content.get("config") or {}, present.get("config") or {}
    emptied = {name: [] if isinstance(value, list) else "" for name, value in now.items()}
    return {**emptied, **wanted}


def _write(item: Item, present: Item | None, vault: VaultReader) -> None:
    kind = find_kind(item.kind)
    copy = _kept(item, vault) if item.kept else item.copy
    if kind is None or not _writable(kind, copy, present):
        raise LabError(
            f"{item} cannot be put back: Vault does not show its secret part",
            where=item.path,
            hint="the step that made it has to do it again: ./lab reset of the whole lab",
        )
    if present and kind.clears and kind.removable:
        _send(vault, "DELETE", item.path, gone=True)
    body = body_of(item.kind, copy)
    if present and not kind.clears:
        body = {name: value for name, value in body.items() if name not in kind.fixed}
    _send(vault, "POST", item.path + kind.write, body)


def _writable(kind: Kind, copy: dict[str, Any], present: Item | None) -> bool:
    return kind.complete(copy) or (kind.merges and present is not None)


def _kept(item: Item, vault: VaultReader) -> dict[str, Any]:
    value = vault.copies.find(item.sum)
    if value is None:
        raise LabError(
            f"{item} cannot be put back: no copy of it is left in Vault",
            where=item.path,
            hint="./lab reset of the whole lab",
        )
    return dict(value)


def _send(
    vault: VaultReader,
    method: str,
    path: str,
    body: object = None,
    *,
    gone: bool = False,
    timeout: float = TIMEOUT_SECONDS,
) -> None:
    """One write. `gone`: an object that has vanished by itself is no error."""
    allow = (404,) if gone else ()
    try:
        vault.http.request(method, f"/v1/{quote(path)}", json=body, allow=allow, timeout=timeout)
    except VaultRefused as refused:
        said = " ".join(refused.errors)
        if not (gone and ("invalid accessor" in said or "lease not found" in said)):
            raise
