"""What a cluster says of itself, without one: which images its node lacks, whether DNS is there."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.base import process
from harness.base.statefile import write_json
from harness.environment.cluster import Cluster, dns_is_ready, full_name
from harness.supply.engine import engine

IN_THE_ENGINE = {"kube-vault-labs/app:1": "sha256:a", "registry.k8s.io/pause:3": "sha256:p"}
ON_THE_NODE = b"docker.io/kube-vault-labs/app:1\nregistry.k8s.io/pause:3\nsha256:0123\n"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster whose node has two images."""

    def listing(name: str, command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        assert name == "kvl-unit-control-plane"
        return subprocess.CompletedProcess(command, 0, ON_THE_NODE, b"")

    monkeypatch.setattr(process, "in_container", listing)
    monkeypatch.setattr(engine, "image_id", lambda name: IN_THE_ENGINE.get(name, ""))
    return Cluster("kvl-unit", tmp_path, "network")


def test_the_node_lacks_what_it_has_not(cluster: Cluster) -> None:
    wanted = [*IN_THE_ENGINE, "kube-vault-labs/other:1"]
    assert cluster.lacks(wanted) == ["kube-vault-labs/other:1"]


def test_an_image_that_was_built_anew_is_lacking(cluster: Cluster, tmp_path: Path) -> None:
    loaded = {"kube-vault-labs/app:1": "sha256:older", "registry.k8s.io/pause:3": "sha256:p"}
    write_json(tmp_path / "loaded.json", loaded)
    assert cluster.lacks(IN_THE_ENGINE) == ["kube-vault-labs/app:1"]


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("kube-vault-labs/app:1", "docker.io/kube-vault-labs/app:1"),
        ("registry.k8s.io/pause:3", "registry.k8s.io/pause:3"),
    ],
)
def test_an_image_of_no_registry_is_docker_hubs(name: str, whole: str) -> None:
    assert full_name(name) == whole


def pod(name: str, ready: str) -> dict[str, Any]:
    conditions = [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": ready}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("pods", "ready"),
    [
        ([], False),
        ([pod("answers", "False")], False),
        ([pod("is-from-before", "True")], False),
        ([pod("is-from-before", "True"), pod("answers", "True")], True),
    ],
)
def test_dns_is_ready_when_a_pod_is_and_says_so(pods: list[dict[str, Any]], ready: bool) -> None:
    def health(path: str) -> tuple[int, str]:
        assert path.endswith(":8181/proxy/ready")
        return (200, "OK") if "/pods/answers:" in path else (503, "no route to host")

    assert dns_is_ready(pods, health) is ready
