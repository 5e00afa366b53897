"""A cluster without one: whether its DNS is there, where its creation leaves files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_kind.cluster import KindCluster

from harness.environment.cluster import Cluster, dns_is_ready


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


def test_nothing_is_written_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout may belong to somebody else; a file stands in for the missing right."""
    (tmp_path / ".pytest-kind").touch()
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "state"
    folder.mkdir()
    made: list[tuple[str, Path]] = []
    monkeypatch.setattr(KindCluster, "create", lambda self, _: made.append((self.name, self.path)))
    monkeypatch.setattr(Cluster, "wait_ready", lambda self: None)
    cluster = Cluster("kvl-toy", folder, "toy")
    monkeypatch.setattr(cluster, "node", lambda: None)
    cluster.kubeconfig.touch()
    cluster.up(
        tmp_path / "kind", tmp_path / "kubectl", "image", tmp_path / "c.yaml", folder / "log"
    )
    assert made == [("kvl-toy", folder / "pytest-kind")]
    assert {entry.name for entry in tmp_path.iterdir()} == {".pytest-kind", "state"}
