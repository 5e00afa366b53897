"""Which actions lead from one inventory back to an earlier one, in order. No I/O.

The control plane comes first: with other keys the API server may not read what follows.
Removing in the cluster: custom resources before the rest, while their operator can still
clean up; owners before the objects they make, so that no controller makes a pod again;
pods before their namespace, because the namespace controller, when it finds a pod, tries
again only after half of that pod's grace period. Removing in Vault: tokens before leases,
because an agent would renew them; both before mounts, because a mount that is gone cannot
revoke; policies last. Putting back goes in the opposite order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from harness.snapshot.model import CONTROL_PLANE, Inventory, Item, compare
from harness.snapshot.vault_kinds import find_kind


class Stage(IntEnum):
    """The order of actions; those of one stage do not depend on each other."""

    CONTROL_PLANE = 0
    CUSTOM = 1
    OWNERS = 2
    OWNED = 3
    PODS = 4
    NAMESPACES = 5
    TOKENS = 6
    LEASES = 7
    ENTITIES = 8
    INSIDE = 9
    MOUNTS = 10
    POLICIES = 11
    PUT_POLICIES = 21
    PUT_MOUNTS = 22
    PUT_SETTINGS = 23
    PUT_INSIDE = 24
    PUT_NAMESPACES = 25
    PUT_OBJECTS = 26
    PUT_WORKLOADS = 27


@dataclass(frozen=True)
class Action:
    """One thing to do: remove `after` (no `before`), write `before` (over `after`, if any)."""

    stage: Stage
    before: Item | None
    after: Item | None

    @property
    def item(self) -> Item:
        """The item that the action removes or writes."""
        item = self.before or self.after
        assert item is not None
        return item

    def __str__(self) -> str:
        return ("put back " if self.before else "removed ") + str(self.item)


# These are removed by an action of their own even when their mount or namespace is removed.
_ALWAYS = {"token", "lease", "entity", "custom"}
WORKLOADS = {
    "CronJob",
    "DaemonSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Job",
    "Pod",
    "ReplicaSet",
    "ReplicationController",
    "StatefulSet",
}


def plan(before: Inventory, after: Inventory) -> list[Action]:
    """The actions that lead from `after` back to `before`, in the order to do them."""
    found = compare(before, after)
    remounted = _to_remount(before, after)
    going = {item.path for item in found.new} | remounted
    actions = [Action(_removal(item), None, item) for item in found.new if _explicit(item, going)]
    for path in sorted(remounted):
        actions.append(Action(Stage.MOUNTS, None, after.items[path]))
        actions.append(Action(Stage.PUT_MOUNTS, before.items[path], None))
        actions += [
            Action(_putting(item), item, None)
            for item in before.items.values()
            if item.parent == path and not item.ephemeral
        ]
    rest = [(item, None) for item in found.gone] + list(found.changed)
    actions += [
        Action(_putting(old), old, new)
        for old, new in rest
        if old.path not in remounted and old.parent not in remounted
    ]
    return sorted(actions, key=lambda action: (action.stage, action.item.path))


def _to_remount(before: Inventory, after: Inventory) -> set[str]:
    """The mounts that have to be unmounted and mounted again.

    That is so when the type or version changed, and when something was added that Vault
    has no way to delete: the settings of an auth method.
    """
    found = compare(before, after)
    remounted = {
        old.path
        for old, new in found.changed
        if old.kind in ("mount", "auth method") and _character(old) != _character(new)
    }
    for item in found.new:
        kind = find_kind(item.kind)
        if kind and not kind.removable and item.parent in before.items:
            remounted.add(item.parent)
    return remounted


def _character(mount: Item) -> tuple[object, ...]:
    content = mount.copy or {}
    return (content.get("type"), (content.get("options") or {}).get("version"))


def _explicit(item: Item, going: Iterable[str]) -> bool:
    """Whether a new item needs an action of its own: it is not removed with its parent."""
    return item.parent not in going or item.kind in _ALWAYS or item.noun in WORKLOADS


def _removal(item: Item) -> Stage:
    if item.kind == CONTROL_PLANE:
        return Stage.CONTROL_PLANE
    if item.in_cluster:
        if item.kind == "custom":
            return Stage.CUSTOM
        if item.noun == "Namespace":
            return Stage.NAMESPACES
        if item.noun == "Pod":
            return Stage.PODS
        return Stage.OWNED if item.owner else Stage.OWNERS
    by_kind = {
        "token": Stage.TOKENS,
        "lease": Stage.LEASES,
        "entity": Stage.ENTITIES,
        "mount": Stage.MOUNTS,
        "auth method": Stage.MOUNTS,
    }
    return by_kind.get(item.kind, Stage.INSIDE if item.parent else Stage.POLICIES)


def _putting(item: Item) -> Stage:
    if item.kind == CONTROL_PLANE:
        return Stage.CONTROL_PLANE
    if item.in_cluster:
        if item.noun == "Namespace":
            return Stage.PUT_NAMESPACES
        return Stage.PUT_WORKLOADS if item.noun in WORKLOADS else Stage.PUT_OBJECTS
    if item.kind in ("mount", "auth method"):
        return Stage.PUT_MOUNTS
    if not item.parent:
        return Stage.PUT_POLICIES
    kind = find_kind(item.kind)
    return Stage.PUT_SETTINGS if kind and kind.at.startswith("config") else Stage.PUT_INSIDE
