"""Finding everything in Vault that belongs to one lab.

Mounts, auth methods, policies and named entities belong to a lab by their name
(`lab01-…`); what lies inside a mount belongs with it; tokens belong by their policies or
by the auth method they came from (harness.snapshot.tokens), entities by their aliases,
leases by their mount. The state of Vault is all that is read, so it does not matter
whether a step, a CLI or a person made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

from harness.clients.vault import VaultHTTP
from harness.snapshot import kv
from harness.snapshot.copies import SecretCopies
from harness.snapshot.kv import is_kv2
from harness.snapshot.model import Item
from harness.snapshot.reader import VaultReader
from harness.snapshot.tokens import Tokens
from harness.snapshot.vault_kinds import SYSTEM, Kind, kinds_of

# The settings of a mount; its accessor and identifiers change when it is mounted again.
_MOUNT_FIELDS = ("type", "description", "config", "options", "local", "seal_wrap")


class VaultState(VaultReader):
    """The items of one lab in Vault."""

    def __init__(self, http: VaultHTTP, prefix: str, copies: SecretCopies) -> None:
        super().__init__(http, prefix, copies)
        self.tokens = Tokens(self)

    # -- the whole ----------------------------------------------------------------------

    def collect(self, pool: Executor) -> list[Item]:
        """Every item of the lab in Vault."""
        mounts = self._mounts()
        work = [
            self._system,
            self._entities,
            *(_bound(self._inside, mount) for mount in mounts),
        ]
        found = pool.map(lambda one: list(one()), work)
        tokens = pool.map(self.tokens.look_up, self.tokens.accessors())
        return mounts + [item for part in (found, tokens) for items in part for item in items]

    def _mounts(self) -> list[Item]:
        found = []
        for root, noun in (("sys/mounts", "mount"), ("sys/auth", "auth method")):
            for name, entry in (self.read(root) or {}).items():
                if isinstance(entry, dict) and name.startswith(self.prefix):
                    content = {key: entry.get(key) for key in _MOUNT_FIELDS}
                    # An empty setting and an absent one are the same to Vault.
                    content["config"] = {
                        key: value
                        for key, value in (entry.get("config") or {}).items()
                        if value not in ("", [], None)
                    }
                    sum_ = self.copies.sum(content)
                    found.append(Item(f"{root}/{name}", noun, name, sum_, noun, content))
        return found

    def _system(self) -> Iterator[Item]:
        for row, kind in SYSTEM.items():
            for name in self.names(kind.list):
                if name.startswith(self.prefix):
                    yield from self._one(row, kind, kind.at.format(name), name)

    def _one(self, row: str, kind: Kind, path: str, name: str, parent: str = "") -> Iterator[Item]:
        # SSH answers 400 instead of 404 where no CA is configured.
        answer = self.read(path, also=(400,) if not kind.list else ())
        if answer is None:
            return
        content = kind.content(answer)
        if row == "auth/approle:role":
            content |= self.read(f"{path}/role-id") or {}
        sum_, copy, kept = self.copies.split(content)
        yield Item(path, kind.noun, name, sum_, kind=row, copy=copy, kept=kept, parent=parent)

    # -- inside a mount -----------------------------------------------------------------

    def _inside(self, mount: Item) -> Iterator[Item]:
        engine = (mount.copy or {}).get("type", "")
        at = base(mount)
        if engine == "kv":
            yield from kv.secrets(self, mount)
        where = f"auth/{engine}" if at.startswith("auth/") else engine
        for row, kind in kinds_of(at, engine).items():
            if engine == "kv" and not is_kv2(mount):
                continue
            names = self.names(at + kind.list) if kind.list else [""]
            for name in names:
                path = at + kind.at.format(name)
                yield from self._one(f"{where}:{row}", kind, path, path, mount.path)
        if where == "auth/approle":
            yield from self._secret_ids(mount)
        if not at.startswith("auth/"):
            yield from self._leases(mount)

    def _leases(self, mount: Item) -> Iterator[Item]:
        at = base(mount)
        for name in self.walk(f"sys/leases/lookup/{at}"):
            yield Item(
                f"sys/leases/lookup/{at}{name}",
                "lease",
                at + name,
                "",
                kind="lease",
                ephemeral=True,
                parent=mount.path,
                holder=f"{at}{name}".rpartition("/")[0],
            )

    def _secret_ids(self, mount: Item) -> Iterator[Item]:
        at = base(mount)
        for role in self.names(f"{at}role"):
            for accessor in self.names(f"{at}role/{role}/secret-id"):
                yield Item(
                    f"{at}role/{role}/secret-id/{accessor}",
                    "secret ID of",
                    f"{at}role/{role}",
                    "",
                    kind="secret-id",
                    ephemeral=True,
                    parent=mount.path,
                )

    # -- entities ----------------------------------------------------------------------

    def _entities(self) -> Iterator[Item]:
        """Entities that logins made; of one that other labs' logins share, the alias only."""
        for identifier, entry in self.details("identity/entity/id").items():
            aliases = entry.get("aliases") or []
            ours = [a for a in aliases if _of_lab(a.get("mount_path"), self.prefix)]
            if not ours or str(entry.get("name")).startswith(self.prefix):
                continue
            if len(ours) == len(aliases):
                path = f"identity/entity/id/{identifier}"
                yield Item(
                    path, "entity", str(entry.get("name")), "", kind="entity", ephemeral=True
                )
                continue
            for alias in ours:
                path = f"identity/entity-alias/id/{alias['id']}"
                name = f"{alias.get('name')} of {alias.get('mount_path')}"
                yield Item(path, "entity alias", name, "", kind="entity", ephemeral=True)


def base(mount: Item) -> str:
    """The path below which a mount serves: `lab01-kv/`, `auth/lab01-jwt/`."""
    return ("auth/" if mount.noun == "auth method" else "") + mount.name


def _of_lab(path: object, prefix: str) -> bool:
    return str(path or "").startswith(f"auth/{prefix}")


def _bound(method: Any, mount: Item) -> Any:
    return lambda: method(mount)
