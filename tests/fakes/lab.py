"""Labs in an environment that is all in memory, for the tests of inventory and reset."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.base.redact import Secret
from harness.lab.access import Access
from harness.lab.context import LabContext
from harness.lab.steps import Lab
from harness.snapshot import restore as reset
from harness.snapshot import restore_cluster
from harness.snapshot import take as inventory
from tests.fakes.cluster import FakeCluster
from tests.fakes.vault import FakeVault


class World:
    """One Vault, one cluster, and contexts of labs in them."""

    def __init__(self, folder: Path) -> None:
        self.vault = FakeVault()
        self.cluster = FakeCluster()
        self._folder = folder

    def lab(self, number: str = "01", root: str = "root-token-of-this-world") -> LabContext:
        """The context of the lab with this number."""
        access = Access(
            name="test",
            state=self._folder,
            kubeconfig=self._folder / "kubeconfig",
            cluster="",
            api_server="",
            flavour="",
            vault_addr=self.vault.addr,
            vault_pod_addr="",
            vault_ca=self._folder / "ca",
            vault_token=Secret(root),
            learner_token=Secret(root),
            audit_log=self._folder / "audit",
            programs=self._folder,
            images={},
        )
        context = LabContext(access, Lab(number, "A lab", 1, "A goal."))
        # cached_property: what is in __dict__ is not made.
        context.__dict__["kube"] = SimpleNamespace(api=self.cluster)
        return context


def make_world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose Vault every inventory talks to, and in which nobody waits for long."""
    world = World(folder)
    monkeypatch.setattr(inventory, "VaultHTTP", lambda *_: world.vault)
    monkeypatch.setattr(reset, "SETTLE_SECONDS", 1.0)
    monkeypatch.setattr(reset, "EVERY", 0.01)
    monkeypatch.setattr(restore_cluster, "FINALIZER_SECONDS", 0.01)
    return world
