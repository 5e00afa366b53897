"""What has to be done to get from one inventory back to an earlier one, in order. No I/O.

Order matters. In the cluster: custom resources before the rest, while their operator can
still clean up; owners before what they made, so that nothing makes a pod again; pods
before their namespace, because the namespace controller, when it still meets a pod, comes
back only after half of that pod's grace period. In Vault: tokens before leases, because
an agent would renew them; both before mounts, because a mount that is gone cannot revoke;
policies last. Putting back goes the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from harness.snapshot.model import Inventory, Item, compare
from harness.snapshot.vault_kinds import find_kind


class Stage(IntEnum):
    """The order of actions; those of one stage do not depend on each other."""

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
    PUTWORKLOADS = 27


@dataclass(frozen=True)
class Action:
    """One thing to do: remove `after` (no `before`), write `before` (over `after`, if any)."""

    stage: Stage
    before: Item | None
    after: Item | None

    @property
    def item(self) -> Item:
        """What the action is about."""
        item = self.before or self.after
        assert item is not None
        return item

    def __str__(self) -> str:
        return ("put back " if self.before else "removed ") + str(self.item)


# These go on their own account even when what they belong to goes as a whole.
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
    anew = _to_mount_anew(before, after)
    going = {item.path for item in found.new} | anew
    actions = [Action(_removal(item), None, item) for item in found.new if _explicit(item, going)]
    for path in sorted(anew):
        actions.append(Action(Stage.MOUNTS, None, after.items[path]))
        actions.append(Action(Stage.PUT_MOUNTS, before.items[path], None))
        actions += [
            Action(_putting(item), item, None)
            for item in before.items.values()
            if item.parent == path and not item.passing
        ]
    rest = [(item, None) for item in found.gone] + list(found.changed)
    actions += [
        Action(_putting(old), old, new)
        for old, new in rest
        if old.path not in anew and old.parent not in anew
    ]
    return sorted(actions, key=lambda action: (action.stage, action.item.path))


def _to_mount_anew(before: Inventory, after: Inventory) -> set[str]:
    """The mounts whose way back is to unmount and mount again.

    That is so when the type or version changed, and when something was added that Vault
    has no way to delete: the settings of an auth method.
    """
    found = compare(before, after)
    anew = {
        old.path
        for old, new in found.changed
        if old.kind in ("mount", "auth method") and _character(old) != _character(new)
    }
    for item in found.new:
        kind = find_kind(item.kind)
        if kind and not kind.removable and item.parent in before.items:
            anew.add(item.parent)
    return anew


def _character(mount: Item) -> tuple[object, ...]:
    content = mount.copy or {}
    return (content.get("type"), (content.get("options") or {}).get("version"))


def _explicit(item: Item, going: Iterable[str]) -> bool:
    """Whether a new item has to be removed by itself, as it does not go with its parent."""
    return item.parent not in going or item.kind in _ALWAYS or item.noun in WORKLOADS


def _removal(item: Item) -> Stage:
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
    if item.in_cluster:
        if item.noun == "Namespace":
            return Stage.PUT_NAMESPACES
        return Stage.PUTWORKLOADS if item.noun in WORKLOADS else Stage.PUT_OBJECTS
    if item.kind in ("mount", "auth method"):
        return Stage.PUT_MOUNTS
    if not item.parent:
        return Stage.PUT_POLICIES
    kind = find_kind(item.kind)
    return Stage.PUT_SETTINGS if kind and kind.at.startswith("config") else Stage.PUT_INSIDE
