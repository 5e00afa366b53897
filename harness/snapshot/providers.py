"""The snapshot providers: Vault and the cluster for every lab, others for labs that ask.

A lab names what it needs beside the two: `Lab(..., snapshots=("control_plane",))`.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.base.errors import LabError
from harness.controlplane import encryption
from harness.controlplane.change import ControlPlane
from harness.controlplane.settings import Settings
from harness.snapshot import restore_cluster, restore_vault
from harness.snapshot.cluster import ClusterState
from harness.snapshot.copies import SecretCopies
from harness.snapshot.model import CONTROL_PLANE, Inventory, Item
from harness.snapshot.plan import Action
from harness.snapshot.provider import Provider
from harness.snapshot.vault import VaultState

if TYPE_CHECKING:
    from harness.lab.context import LabContext

API_SERVER = Item("control-plane", "settings of", "the API server", "", kind=CONTROL_PLANE)


class VaultProvider(Provider):
    """The lab's mounts, policies, tokens and entities in Vault."""

    def __init__(self, vault: VaultState) -> None:
        self._vault = vault

    def owns(self, item: Item) -> bool:
        return not item.in_cluster and item.kind != CONTROL_PLANE

    def take(self, pool: Executor) -> list[Item]:
        return self._vault.collect(pool)

    def restore(self, action: Action) -> str:
        return restore_vault.perform(action, self._vault)

    def forget(self) -> None:
        self._vault.copies.empty()


class ClusterProvider(Provider):
    """The lab's namespaces and objects in the cluster."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster

    def owns(self, item: Item) -> bool:
        return item.in_cluster

    def take(self, pool: Executor) -> list[Item]:
        return self._cluster.collect(pool)

    def restore(self, action: Action) -> str:
        return restore_cluster.perform(action, self._cluster)

    def announce(self, action: Action) -> None:
        """Delete a custom resource; what is refused is tried again by `restore`."""
        if action.before is None and action.item.kind == "custom":
            with suppress(LabError):
                restore_cluster.announce(action, self._cluster)

    def unreadable(self) -> Mapping[str, str]:
        return self._cluster.unreadable


class ControlPlaneProvider(Provider):
    """The settings of the API server, as far as labs change them; no item when they are plain.

    The item's HMAC is the name by which the control plane's own history keeps the settings.
    """

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._plane = plane
        self._namespace = namespace

    def owns(self, item: Item) -> bool:
        return item.kind == CONTROL_PLANE

    def take(self, pool: Executor) -> list[Item]:
        settings = self._plane.current()
        if settings.plain:
            return []
        return [replace(API_SERVER, sum=self._plane.memory.keep(settings))]

    def prepare(self, wanted: Inventory) -> list[str]:
        """Return to the wanted settings: without its keys the API server reads no Secret."""
        return self._migrate_to(wanted.items.get(API_SERVER.path))

    def restore(self, action: Action) -> str:
        return "; ".join(self._migrate_to(action.before))

    def forget(self) -> None:
        self._plane.memory.forget()

    def _migrate_to(self, item: Item | None) -> list[str]:
        goal = self._plane.memory.recall(item.sum) if item else Settings()
        return encryption.migrate_to(self._plane, goal, discardable_namespaces=[self._namespace])


def _control_plane(context: LabContext) -> Provider:
    return ControlPlaneProvider(context.control_plane, context.namespace)


ON_REQUEST = {"control_plane": _control_plane}


def providers_of(context: LabContext, vault: VaultState, copies: SecretCopies) -> list[Provider]:
    """The providers of one lab. Raises LabError when it asks for one that does not exist."""
    lab = context.lab
    unknown = sorted(set(lab.snapshots) - set(ON_REQUEST))
    if unknown:
        raise LabError(
            f"lab {lab.number} asks for the snapshot of {', '.join(unknown)}",
            where=f"Lab({lab.number!r}, ..., snapshots={lab.snapshots!r})",
            hint=f"there are: {', '.join(sorted(ON_REQUEST))}",
        )
    return [
        VaultProvider(vault),
        ClusterProvider(ClusterState(context.kube.api, lab.prefix, lab.number, copies)),
        *(ON_REQUEST[name](context) for name in lab.snapshots),
    ]
