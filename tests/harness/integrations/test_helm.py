"""Helm for upstream's charts: how it is called, and when it has nothing to do."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from harness.base.errors import EnvironmentLacks, LabError
from harness.base.process import CommandFailed
from harness.integrations import csi, helm, injector
from harness.integrations.base import InstallContext
from harness.supply.base import Provided

CHART = "secrets-store-csi-driver"
VALUES = {"a": {"b": True}}
OBJECTS = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "driver"}},
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "driver", "namespace": "kube-system"},
        "spec": {"replicas": 2},
    },
]


@dataclass
class Kube:
    """The cluster as helm.install asks it: the Secrets of releases, and objects."""

    secrets: list[dict[str, Any]] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=lambda: [dict(one) for one in OBJECTS])

    def list(self, kind: str, *, selector: str) -> list[dict[str, Any]]:
        assert (kind, selector) == ("Secret", "owner=helm,name=driver")
        return self.secrets

    def get(self, kind: str, name: str, namespace: str, version: str) -> dict[str, Any] | None:
        if kind == "Lost":
            raise LabError("the cluster knows no kind Lost")
        wanted = (kind, name, version)
        return next(
            (one for one in self.objects
             if (one["kind"], one["metadata"]["name"], one["apiVersion"]) == wanted),
            None,
        )  # fmt: skip

    def keep(self, status: str, made_of: str = "", objects: Iterable[object] = OBJECTS) -> None:
        """Keep one more revision as helm does."""
        manifest = yaml.safe_dump_all(objects)
        packed = gzip.compress(json.dumps({"manifest": manifest}).encode())
        labels = {"status": status, "version": str(len(self.secrets) + 9), helm.MADE_OF: made_of}
        data = {"release": base64.b64encode(base64.b64encode(packed)).decode()}
        self.secrets.insert(0, {"metadata": {"labels": labels}, "data": data})


class World:
    """A helm that notes its words, a chart, a cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kube = Kube()
        self.calls = folder / "calls"
        self.provided: dict[str, Provided] = {}
        self.give("helm", self.script(f'echo "$@" >>{self.calls}; env >{folder}/env'))
        self.give(f"{CHART}-chart", folder / "chart.tgz", "sha256:one")
        self.context = cast(
            InstallContext,
            SimpleNamespace(
                folder=folder / "csi",
                kubeconfig=folder / "kubeconfig",
                provided=self.provided,
                kube=lambda namespace: self.kube,
            ),
        )

    def script(self, body: str) -> Path:
        file = self.folder / "helm"
        file.write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
        file.chmod(0o755)
        return file

    def give(self, part: str, path: Path, digest: str = "") -> None:
        self.provided[part] = Provided(part, "1", f"origin of {part}", True, digest, path=path)

    def install(self, values: dict[str, Any] = VALUES) -> str:
        return helm.install(self.context, CHART, "driver", "kube-system", values)

    def said(self) -> list[str]:
        """The first word of each call since the last look."""
        lines = self.calls.read_text("utf-8").splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return [line.split()[0] for line in lines]

    def made_of(self) -> str:
        """Install, and what the release was said to be made of."""
        self.install()
        words = self.calls.read_text("utf-8").split()
        self.said()
        return dict(itertools.pairwise(words))["--labels"].partition("=")[2]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_helm_gets_the_chart_the_values_the_cluster_and_folders_of_its_own(world: World) -> None:
    assert world.install() == f"origin of {CHART}-chart"
    words = world.calls.read_text("utf-8").split()
    assert words[:4] == ["upgrade", "--install", "driver", str(world.folder / "chart.tgz")]
    named = dict(itertools.pairwise(words))
    assert json.loads(Path(named["--values"]).read_text("utf-8")) == VALUES
    assert named["--kubeconfig"] == str(world.context.kubeconfig)
    assert named["--namespace"] == "kube-system"
    assert "--repo" not in words, "the publisher was asked"
    env = (world.folder / "env").read_text("utf-8")
    assert f"HELM_CACHE_HOME={world.context.folder}/helm/cache" in env


def test_a_release_that_is_whole_is_left_alone(world: World) -> None:
    world.kube.keep("superseded")
    world.kube.keep("deployed", world.made_of())
    assert world.install() == f"origin of {CHART}-chart"
    assert world.said() == []


def test_other_values_or_another_chart_are_an_upgrade(world: World) -> None:
    world.kube.keep("deployed", world.made_of())
    world.install({"a": {"b": False}})
    assert world.said() == ["upgrade"]
    world.give(f"{CHART}-chart", world.folder / "chart.tgz", "sha256:two")
    world.install()
    assert world.said() == ["upgrade"]


@pytest.mark.parametrize("damage", ["removed", "scaled", "kind lost", "unreadable", "failed"])
def test_a_release_that_is_not_whole_is_repaired(world: World, damage: str) -> None:
    made_of = world.made_of()
    lost = {"apiVersion": "a/v1", "kind": "Lost", "metadata": {"name": "x"}}
    world.kube.keep(
        "failed" if damage == "failed" else "deployed",
        made_of,
        [*OBJECTS, lost] if damage == "kind lost" else OBJECTS,
    )
    if damage == "removed":
        del world.kube.objects[0]
    elif damage == "scaled":
        world.kube.objects[1] = {**OBJECTS[1], "spec": {"replicas": 0}}
    elif damage == "unreadable":
        world.kube.secrets[0]["data"]["release"] = "AAAA"
    world.install()
    assert world.said() == ["upgrade"]


@pytest.mark.parametrize(
    ("status", "repaired"),
    [
        ("deployed", False),
        ("failed", False),
        ("pending-install", True),
        ("pending-upgrade", True),
        ("uninstalling", True),
    ],
)
def test_a_release_that_was_cut_off_is_removed_first(
    world: World, status: str, repaired: bool
) -> None:
    world.kube.keep("deployed")
    world.kube.keep(status)
    world.install()
    assert world.said() == [*(["uninstall"] if repaired else []), "upgrade"]


def test_what_helm_says_is_passed_on(world: World) -> None:
    world.script("echo 'Error: forbidden' >&2; exit 1")
    with pytest.raises(CommandFailed) as caught:
        world.install()
    assert "forbidden" in str(caught.value)
    assert "helm.log" in str(caught.value)


@pytest.mark.parametrize("part", ["helm", f"{CHART}-chart"])
def test_a_supply_without_helm_or_the_chart_is_named(world: World, part: str) -> None:
    del world.provided[part]
    with pytest.raises(EnvironmentLacks, match=f"needs {part}"):
        world.install()


def test_no_release_of_vaults_chart_brings_rights_for_a_server(tmp_path: Path) -> None:
    """The chart gives its server's account the right to review tokens, server or not."""
    ca = tmp_path / "ca.crt"
    ca.write_text("made up", encoding="ascii")
    image = SimpleNamespace(image="docker.io/a/b:1")
    context = cast(
        InstallContext,
        SimpleNamespace(
            provided={"injector": image, "vault": image, "csi-provider": image},
            vault_ca=ca,
            vault_pod_addr="https://vault.vault.svc:8200",
        ),
    )
    for values in (injector.chart_values(context), csi.provider_values(context)):
        assert values["server"]["enabled"] is False
        assert values["server"]["serviceAccount"] == {"create": False}
        assert values["server"]["authDelegator"] == {"enabled": False}
