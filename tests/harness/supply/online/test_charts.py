"""Upstream's charts from a Helm repository, from a folder, and not twice."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness import integrations
from harness.base.errors import EnvironmentLacks, UsageError
from harness.supply import choose
from harness.supply.base import Part, all_parts, chart_part, find_part
from harness.supply.lock import Lock
from harness.supply.online import charts, downloads
from harness.supply.online import supply as online
from harness.supply.online.charts import ChartRelease
from harness.supply.online.supply import OnlineSupply
from tests.fakes.progress import Silent
from tests.harness.supply.online.test_downloads import Publisher, publisher

__all__ = ["publisher"]

ARCHIVE = b"a made-up chart"
SUM = hashlib.sha256(ARCHIVE).hexdigest()
Publish = Callable[..., None]


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    for name in ("LAB_DOWNLOADS", charts.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(downloads, "SPARE_BYTES", 0)


@pytest.fixture
def part(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> Part:
    source = {"chart": "thing", "repository": f"{publisher.address}/charts"}
    made = Part("thing-chart", "1.2", "chart", "MPL-2.0", "a test", online=source)
    for module in (online, choose):
        monkeypatch.setattr(module, "find_part", {"thing-chart": made}.__getitem__)
    return made


@pytest.fixture
def publish(publisher: Publisher) -> Publish:
    def make(**changes: object) -> None:
        entry = {"version": "1.2", "urls": ["thing-1.2.tgz"], "digest": SUM} | changes
        other = {"version": "1.3", "urls": ["thing-1.3.tgz"], "digest": "0" * 64}
        index = {"apiVersion": "v1", "entries": {"thing": [other, entry]}}
        publisher.files["/charts/index.yaml"] = yaml.safe_dump(index).encode()
        publisher.files["/charts/thing-1.2.tgz"] = ARCHIVE

    return make


def fetch(part: Part) -> downloads.Stored:
    return ChartRelease(part).fetch(Lock(), lambda _: None)


@pytest.mark.parametrize("form", ["relative", "absolute", "with v", "with algorithm"])
def test_the_pinned_version_is_fetched_once(
    part: Part, publisher: Publisher, publish: Publish, form: str
) -> None:
    changes: dict[str, dict[str, object]] = {
        "relative": {},
        "absolute": {"urls": [f"{publisher.address}/charts/thing-1.2.tgz"]},
        "with v": {"version": "v1.2"},
        "with algorithm": {"digest": f"sha256:{SUM}"},
    }
    publish(**changes[form])
    supply = OnlineSupply()
    assert not supply.ready([part.name])
    provided = supply.provide([part.name], Silent())[part.name]
    assert provided.path is not None
    assert provided.path.read_bytes() == ARCHIVE
    assert provided.path.name == "thing-1.2.tgz"
    assert provided.digest == f"sha256:{SUM}"
    assert provided.origin == f"{publisher.address}/charts/thing-1.2.tgz"
    seen = Lock().seen("chart thing 1.2")
    assert seen is not None
    assert seen.digest == provided.digest
    asked = len(publisher.asked)
    assert supply.ready([part.name])
    assert supply.provide([part.name], Silent())[part.name] == provided
    assert len(publisher.asked) == asked, "the repository was asked again"


def test_an_archive_that_is_not_what_the_index_says_is_refused(
    part: Part, publisher: Publisher, publish: Publish
) -> None:
    publish()
    publisher.files["/charts/thing-1.2.tgz"] = ARCHIVE + b"!"
    with pytest.raises(UsageError, match="not what its publisher says"):
        fetch(part)


def test_a_version_that_was_replaced_is_refused(part: Part, publish: Publish) -> None:
    publish()
    stored = fetch(part)
    stored.path.unlink()
    publish(digest="1" * 64)
    with pytest.raises(UsageError, match="has changed"):
        fetch(part)


def test_a_pinned_digest_is_held_to(part: Part, publish: Publish) -> None:
    publish()
    pinned = dataclasses.replace(part, online={**part.online, "digest": f"sha256:{SUM}"})
    assert fetch(pinned).published == f"sha256:{SUM}"
    other = dataclasses.replace(part, online={**part.online, "digest": "sha256:" + "2" * 64})
    with pytest.raises(UsageError, match="not the pinned one"):
        ChartRelease(other).find_sum(yaml.safe_dump(
            {"entries": {"thing": [{"version": "1.2", "urls": ["x"], "digest": SUM}]}}
        ))  # fmt: skip


@pytest.mark.parametrize("index", ["<html>log in</html>", "entries: {}", "[", "entries: [1]"])
def test_what_is_no_index_is_said(part: Part, publisher: Publisher, index: str) -> None:
    publisher.files["/charts/index.yaml"] = index.encode()
    with pytest.raises(UsageError, match=r"has no chart thing 1\.2") as caught:
        fetch(part)
    assert charts.VARIABLE in caught.value.hint


def test_a_repository_that_is_away_is_one_sentence(part: Part, publisher: Publisher) -> None:
    publisher.status = 503
    with pytest.raises(EnvironmentLacks, match=r"does not give the checksum of chart thing 1\.2"):
        fetch(part)


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_a_persons_own_chart_is_taken(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    folder = tmp_path / "charts"
    (folder / "thing").mkdir(parents=True)
    (folder / "thing" / "Chart.yaml").write_text("name: thing\n", encoding="utf-8")
    wanted = folder / "thing"
    if form == "archive":
        wanted = folder / "thing-1.2.tgz"
        wanted.write_bytes(ARCHIVE)
    monkeypatch.setenv(charts.VARIABLE, str(folder))
    supply = OnlineSupply()
    assert supply.ready([part.name])
    provided = supply.provide([part.name], Silent())[part.name]
    assert provided.path == wanted
    assert provided.origin == str(wanted)
    (folder / "thing" / "Chart.yaml").write_text("name: thing\nmore: 1\n", encoding="utf-8")
    again = supply.provide([part.name], Silent())[part.name]
    assert (again.digest == provided.digest) == (form == "archive")


def test_a_folder_without_the_chart_is_said_and_not_passed_by(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(charts.VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match=r"no chart thing 1\.2") as caught:
        OnlineSupply().provide([part.name], Silent())
    assert "helm pull thing --repo" in caught.value.hint


def test_the_repository_is_asked_before_online_is_chosen(part: Part, publish: Publish) -> None:
    publish()
    (answer,) = choose.survey([part.name])
    assert answer.refused == ""
    assert answer.place.urls == (f"{part.online['repository']}/index.yaml",)


def test_every_chart_of_an_integration_is_a_part_that_the_online_supply_brings() -> None:
    named = {chart for name in integrations.names() for chart in integrations.find(name).charts}
    assert named
    for chart in named:
        assert all_parts()[chart_part(chart)].kind == "chart"
        assert find_part(chart_part(chart)).online["chart"] == chart
    for name in integrations.names():
        wanted = {chart_part(chart) for chart in integrations.find(name).charts}
        assert wanted <= set(integrations.parts_of([name], upstream=True))
        assert not wanted & set(integrations.parts_of([name]))
