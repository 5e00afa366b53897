"""Helm for upstream's charts: where a chart comes from, and how helm is called."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.process import CommandFailed
from harness.integrations import helm
from harness.integrations.base import InstallContext

CHART = "secrets-store-csi-driver"
NOTHING_INSTALLED = '[ "$1" != list ] || { echo "[]"; exit; };'


@pytest.fixture(autouse=True)
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(helm.CHARTS_VARIABLE, raising=False)


def context(tmp_path: Path, program: Path | None) -> InstallContext:
    """A context whose helm is `program`; nothing else of it is used."""
    given = {"helm": SimpleNamespace(path=program)} if program else {}
    place = SimpleNamespace(
        folder=tmp_path / "csi", kubeconfig=tmp_path / "kubeconfig", provided=given
    )
    return cast(InstallContext, place)


def script(file: Path, body: str) -> Path:
    file.write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
    file.chmod(0o755)
    return file


def test_without_a_folder_the_publisher_is_asked_for_the_pinned_version() -> None:
    chart = helm.find_chart(CHART)
    assert chart.words() == [CHART, "--repo", chart.repository, "--version", chart.version]
    assert chart.version in chart.origin()


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_a_local_chart_is_taken_when_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    chart = helm.find_chart(CHART)
    found = tmp_path / (f"{CHART}-{chart.version}.tgz" if form == "archive" else CHART)
    found.mkdir() if form == "folder" else found.touch()
    monkeypatch.setenv(helm.CHARTS_VARIABLE, str(tmp_path))
    assert chart.words() == [str(found)]


def test_a_folder_without_the_chart_is_said_and_not_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{CHART}-0.0.1.tgz").touch()
    monkeypatch.setenv(helm.CHARTS_VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match=f"no chart {CHART}"):
        helm.find_chart(CHART).words()


def test_an_unknown_chart_is_refused() -> None:
    with pytest.raises(UsageError, match="no chart 'nothing'"):
        helm.find_chart("nothing")


def test_helm_is_told_the_values_the_cluster_and_folders_of_its_own(tmp_path: Path) -> None:
    program = script(
        tmp_path / "helm", f'{NOTHING_INSTALLED} echo "$@" >{tmp_path}/said; env >{tmp_path}/env'
    )
    place = context(tmp_path, program)
    origin = helm.install(place, CHART, "driver", "kube-system", {"a": {"b": True}})
    assert helm.find_chart(CHART).repository in origin
    words = (tmp_path / "said").read_text("utf-8").split()
    assert words[:3] == ["upgrade", "--install", "driver"]
    named = dict(itertools.pairwise(words))
    assert json.loads(Path(named["--values"]).read_text("utf-8")) == {"a": {"b": True}}
    assert named["--kubeconfig"] == str(place.kubeconfig)
    assert named["--namespace"] == "kube-system"
    env = (tmp_path / "env").read_text("utf-8")
    assert f"HELM_CACHE_HOME={place.folder}/helm/cache" in env


def test_what_helm_says_is_told_with_the_way_out(tmp_path: Path) -> None:
    program = script(
        tmp_path / "helm", f"{NOTHING_INSTALLED} echo 'Error: no route to host' >&2; exit 1"
    )
    with pytest.raises(CommandFailed) as caught:
        helm.install(context(tmp_path, program), CHART, "driver", "kube-system", {})
    assert "no route to host" in str(caught.value)
    assert helm.CHARTS_VARIABLE in str(caught.value)


@pytest.mark.parametrize(
    ("status", "repaired"),
    [("deployed", False), ("failed", False), ("pending-install", True), ("pending-upgrade", True)],
)
def test_a_release_that_was_cut_off_is_removed_first(
    tmp_path: Path, status: str, repaired: bool
) -> None:
    listed = json.dumps([{"name": "driver", "status": status}])
    program = script(
        tmp_path / "helm",
        f"echo $1 $2 >>{tmp_path}/said; [ $1 != list ] || echo 'WARNING: mode'\n"
        f"[ $1 != list ] || echo '{listed}'",
    )
    helm.install(context(tmp_path, program), CHART, "driver", "kube-system", {})
    calls = [line.split()[0] for line in (tmp_path / "said").read_text("utf-8").splitlines()]
    assert calls == ["list", *(["uninstall"] if repaired else []), "upgrade"]


def test_a_supply_without_helm_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacks, match="needs helm"):
        helm.install(context(tmp_path, None), CHART, "driver", "kube-system", {})


def test_an_image_is_split_at_its_tag() -> None:
    assert helm.image("localhost:5000/a/b:v1") == ("localhost:5000/a/b", "v1")
