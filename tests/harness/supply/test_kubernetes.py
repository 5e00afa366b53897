"""Which releases of Kubernetes there are, what their parts are called, which one is kept."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast, get_args

import pytest

from harness.base.errors import UsageError
from harness.cli import common
from harness.environment.bringup import BringUp, Options
from harness.environment.layout import EnvironmentLayout
from harness.environment.record import EnvironmentRecord
from harness.supply import kubernetes
from harness.supply.base import all_parts, find_part
from tests.fakes.progress import Silent

SECOND = kubernetes.releases()[1]


def test_the_default_bears_plain_names() -> None:
    assert kubernetes.part_name("node", kubernetes.default()) == "node"
    assert kubernetes.part_name("node", SECOND) == f"node-{SECOND}"


def test_every_release_has_all_parts_of_a_cluster() -> None:
    of_clusters = [
        part.name
        for part in all_parts().values()
        if part.offline.get("recipe") in ("kubernetes", "node")
    ]
    assert {"kubernetes", "kubectl", "node", "etcd", "coredns", "containerd"} <= set(of_clusters)
    for release in kubernetes.releases():
        for name in of_clusters:
            part = find_part(kubernetes.part_name(name, release))
            assert part.kind == find_part(name).kind
        for name in ("kubernetes", "kubectl", "node"):
            part = find_part(kubernetes.part_name(name, release))
            assert part.version.startswith(f"{release}.")
            assert part.at("online").version.startswith(f"{release}.")


def test_a_release_that_is_not_pinned_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no Kubernetes '1\.12'"):
        kubernetes.part_name("node", "1.12")


def test_programs_are_called_without_their_release() -> None:
    assert kubernetes.plain_name(f"kubectl-{SECOND}") == "kubectl"
    assert kubernetes.plain_name("kubectl") == "kubectl"
    assert kubernetes.plain_name("kind") == "kind"


def test_help_names_the_releases() -> None:
    (option,) = get_args(common.KubernetesRelease)[1:]
    assert tuple(re.findall(r"\d\.\d+", option.help)) == kubernetes.releases()


def bring_up(
    folder: Path, record: EnvironmentRecord | None, release: str | None
) -> EnvironmentRecord:
    """What a bring-up decides."""
    place = SimpleNamespace(name="unit", record=record, folder=folder, brought=False)
    up = BringUp(cast(EnvironmentLayout, place), Options(kubernetes=release), Silent())
    return up._decide()


@pytest.mark.parametrize(("asked", "recorded"), [(None, kubernetes.default()), (SECOND, SECOND)])
def test_what_was_asked_for_is_recorded(tmp_path: Path, asked: str | None, recorded: str) -> None:
    first = bring_up(tmp_path, None, asked)
    assert first.kubernetes == recorded
    assert bring_up(tmp_path, first, None).kubernetes == recorded
    assert EnvironmentRecord.read(tmp_path) == first


def test_an_environment_keeps_its_release(tmp_path: Path) -> None:
    record = bring_up(tmp_path, None, SECOND)
    with pytest.raises(UsageError, match=f"runs Kubernetes {SECOND}, not"):
        bring_up(tmp_path, record, kubernetes.default())
