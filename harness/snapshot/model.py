"""What an inventory is made of, and how two of them are compared. No I/O.

An `Item` is one thing that a lab can leave in Vault or in the cluster: a mount, a role,
a secret, a token, a pod. It holds an HMAC of its content and, where the content is not
secret, the content itself, so that it can be put back. An item that may vanish by itself
(a token, a lease, a pod of a Deployment) is `ephemeral`: when it is new it counts, when it
is gone or changed it does not.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from harness.base.errors import UsageError

# The kind of the one item that stands for the API server's settings.
CONTROL_PLANE = "control plane"


def canonical(content: object) -> str:
    """The one JSON text of `content`: equal contents give equal texts."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sum_of(content: object, key: str) -> str:
    """HMAC-SHA256 of `content`, in hex. The key is the environment's root token."""
    return hmac.new(key.encode(), canonical(content).encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Item:
    """One thing of a lab.

    `path` is its API path and its identity: `lab01-kv/metadata/app` in Vault,
    `/api/v1/namespaces/lab01/pods/web` in the cluster. `noun` and `name` are for people.
    `copy` is its content, None when that is secret; `kept` then says that a copy lies in
    Vault (harness.snapshot.copies). `parent` is the path of the mount or namespace with
    which it is deleted, `owner` the path of the object that makes it (ownerReferences),
    `holder` the client that got a token or a lease, and by which path. `terminating`: it,
    or its namespace, is being deleted already. `kind` decides how a restore writes it.
    """

    path: str
    noun: str
    name: str
    sum: str
    kind: str = ""
    copy: Any = None
    kept: bool = False
    ephemeral: bool = False
    terminating: bool = False
    parent: str = ""
    owner: str = ""
    holder: str = ""

    @property
    def in_cluster(self) -> bool:
        """Whether the item lives in Kubernetes; otherwise it lives in Vault."""
        return self.path.startswith("/api")

    def __str__(self) -> str:
        return f"{self.noun} {self.name}"


@dataclass(frozen=True)
class Inventory:
    """Everything of one lab at one moment.

    `environment` names the root token that made the HMACs. `unreadable` are the API paths
    of collections that could not be listed, with the reason: their items are not known.
    """

    lab: str
    environment: str
    items: dict[str, Item] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        lab: str,
        environment: str,
        items: Iterable[Item],
        unreadable: Mapping[str, str] | None = None,
    ) -> Inventory:
        """An inventory of these items."""
        return cls(lab, environment, {item.path: item for item in items}, dict(unreadable or {}))

    def to_json(self) -> dict[str, Any]:
        """A JSON object without any secret in it."""
        return {
            "lab": self.lab,
            "environment": self.environment,
            "items": [_short(item) for _, item in sorted(self.items.items())],
            "unreadable": self.unreadable,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Inventory:
        """The inventory that `to_json` wrote. Raises UsageError when it is something else."""
        try:
            items = [Item(**entry) for entry in value["items"]]
            return cls.of(value["lab"], value["environment"], items, value.get("unreadable"))
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"a stored inventory cannot be read: {error}",
                hint="./lab reset of the whole lab does not need it",
            ) from error

    def knows(self, item: Item) -> bool:
        """Whether `item` would be in this inventory if it existed."""
        collection = item.path.rpartition("/")[0]
        if "/namespaces/" in collection:
            root, _, rest = collection.partition("/namespaces/")
            collection = f"{root}/{rest.rpartition('/')[2]}"
        return collection not in self.unreadable

    def root_owner(self, item: Item) -> Item | None:
        """The first owner of `item`; None when it has no owner that is still there."""
        seen = {item.path}
        while item.owner and item.owner not in seen:
            seen.add(item.owner)
            above = self.items.get(item.owner)
            if above is None:
                return None
            item = above
        return item if len(seen) > 1 else None


def _short(item: Item) -> dict[str, Any]:
    """The fields of `item` that are not at their default."""
    return {
        f.name: getattr(item, f.name) for f in fields(item) if getattr(item, f.name) != f.default
    }


@dataclass(frozen=True)
class Comparison:
    """What is new, changed (before, after) and gone between two inventories."""

    new: list[Item]
    changed: list[tuple[Item, Item]]
    gone: list[Item]


def compare(before: Inventory, after: Inventory) -> Comparison:
    """What happened between two inventories of one lab."""
    kept = before.items.keys() & after.items.keys()
    return Comparison(
        new=[
            item
            for path, item in sorted(after.items.items())
            if path not in before.items and before.knows(item) and not _follows(item, before, after)
        ],
        changed=[
            (before.items[path], after.items[path])
            for path in sorted(kept)
            if before.items[path].sum != after.items[path].sum
            and not before.items[path].ephemeral
            and not after.items[path].terminating
        ],
        gone=[
            item
            for path, item in sorted(before.items.items())
            if not item.ephemeral
            and after.knows(item)
            and (path not in after.items or after.items[path].terminating)
        ],
    )


def _follows(item: Item, before: Inventory, after: Inventory) -> bool:
    """Whether a controller made a new item for an object that was there before."""
    root = after.root_owner(item)
    return root is not None and root.path in before.items


def difference(before: Inventory, after: Inventory) -> list[str]:
    """What happened between two inventories, a sentence each; [] when they are equal.

    An item that is being deleted counts as gone. A token or a lease counts as new only
    when its holder had none: a program that runs in both states may log in again any time.
    """
    return list(differences(before, after).values())


def differences(before: Inventory, after: Inventory) -> dict[str, str]:
    """The sentences of `difference`, by the path of the item that each is about."""
    found = compare(before, after)
    holders = {item.holder for item in before.items.values()} - {""}
    new = [item for item in found.new if not item.terminating and item.holder not in holders]
    return {
        **{item.path: f"{item} is new" for item in new},
        **{old.path: f"{old} changed{_which(old, new)}" for old, new in found.changed},
        **{item.path: f"{item} is gone" for item in found.gone},
    }


def _which(old: Item, new: Item) -> str:
    """The names of the fields that differ; never their values."""
    if not isinstance(old.copy, dict) or not isinstance(new.copy, dict):
        return ""
    names = sorted(_differing(old.copy, new.copy))
    return f" ({', '.join(names)})" if names else ""


def _differing(old: dict[str, Any], new: dict[str, Any], above: str = "") -> Iterator[str]:
    for name in old.keys() | new.keys():
        one, other = old.get(name), new.get(name)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict) and above.count(".") < 2:
            yield from _differing(one, other, f"{above}{name}.")
        else:
            yield f"{above}{name}"
