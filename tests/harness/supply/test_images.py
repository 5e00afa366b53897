"""Images for the engine and for a node's store: what the archives hold, what is replaced."""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, ImageNotFound
from requests import Response

from harness.base import labels
from harness.base.errors import EnvironmentLacks
from harness.supply import images, oci
from harness.supply.engine import engine

CONFIG = {
    "Env": ["PATH=/bin"],
    "Entrypoint": ["/start"],
    "StopSignal": "SIGRTMIN+3",
    "Labels": {"kept": "yes"},
}
NAME = "kube-vault-labs/thing:1"


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """A cache entry with a root file system whose size is no multiple of tar's block."""
    folder = tmp_path / "0123456789abcdef"
    folder.mkdir()
    (folder / "rootfs.tar").write_bytes(b"r" * 1337)
    (folder / "image.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return folder


@dataclass
class FakeImage:
    id: str
    labels: dict[str, str]


@dataclass
class FakeEngine:
    """The calls of docker.DockerClient that harness.supply.images makes."""

    kept: dict[str, FakeImage] = field(default_factory=dict)
    dangling: builtins.list[FakeImage] = field(default_factory=list)
    removed: builtins.list[str] = field(default_factory=list)
    loads: int = 0
    says: str = ""

    @property
    def images(self) -> FakeEngine:
        return self

    @property
    def api(self) -> FakeEngine:
        return self

    def get(self, reference: str) -> FakeImage:
        if reference not in self.kept:
            raise ImageNotFound("no such image")
        return self.kept[reference]

    def list(self, filters: dict[str, Any]) -> builtins.list[FakeImage]:
        assert filters["dangling"] is True
        name, _, value = filters["label"].partition("=")
        return [image for image in self.dangling if image.labels.get(name) == value]

    def remove(self, image_id: str) -> None:
        self.removed.append(image_id)

    def load_image(self, chunks: Iterator[bytes]) -> builtins.list[dict[str, str]]:
        self.loads += 1
        if self.says:
            return [{"error": self.says}]
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            manifest = _json(archive, "manifest.json")[0]
            config = _json(archive, manifest["Config"])
        image_id = "sha256:" + str(manifest["Config"]).removesuffix(".json")
        name = manifest["RepoTags"][0]
        if name in self.kept:
            self.dangling.append(self.kept[name])
        self.kept[name] = FakeImage(image_id, config["config"]["Labels"])
        return [{"stream": "Loaded image"}]

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    made = FakeEngine()
    monkeypatch.setattr(engine, "client", lambda: made)
    return made


def _json(archive: tarfile.TarFile, name: str) -> Any:
    member = archive.extractfile(name)
    assert member is not None
    return json.load(member)


def test_the_archive_is_what_docker_load_reads(entry: Path) -> None:
    content = b"".join(images.archive_of(entry, NAME, {"more": "labels"}))
    assert len(content) % tarfile.BLOCKSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        manifest = _json(archive, "manifest.json")[0]
        assert manifest["RepoTags"] == [NAME]
        config = _json(archive, manifest["Config"])
        layer = archive.extractfile(manifest["Layers"][0])
        assert layer is not None
        digest = hashlib.sha256(layer.read()).hexdigest()
    assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}"]
    assert config["config"]["Labels"] == {"kept": "yes", "more": "labels"}
    assert config["config"]["StopSignal"] == "SIGRTMIN+3"
    assert config["config"]["Env"] == CONFIG["Env"]


def test_an_image_is_loaded_once(entry: Path, fake: FakeEngine) -> None:
    assert not images.present(entry, NAME)
    first = images.ensure(entry, NAME, {"part": "thing"})
    assert images.ensure(entry, NAME, {"part": "thing"}) == first
    assert fake.loads == 1
    assert images.present(entry, NAME)
    assert fake.kept[NAME].labels["part"] == "thing"
    assert fake.kept[NAME].labels[labels.MANAGED_BY] == "kube-vault-labs"


def test_the_same_entry_gives_the_same_id(entry: Path, fake: FakeEngine) -> None:
    first = images.ensure(entry, NAME)
    fake.kept.clear()
    assert images.ensure(entry, NAME) == first


def _outdated(name: str = NAME) -> FakeImage:
    return FakeImage("sha256:old", {images.KEY_LABEL: "fedcba98", images.NAME_LABEL: name})


def test_an_outdated_image_is_replaced_and_removed(entry: Path, fake: FakeEngine) -> None:
    fake.kept[NAME] = _outdated()
    assert images.ensure(entry, NAME) != "sha256:old"
    assert fake.removed == ["sha256:old"]


def test_an_image_that_was_in_use_is_removed_the_next_time(entry: Path, fake: FakeEngine) -> None:
    fake.dangling = [_outdated(), _outdated("kube-vault-labs/other:1")]
    images.ensure(entry, NAME)
    assert fake.removed == ["sha256:old"]


def test_somebody_elses_image_of_that_name_is_not_removed(entry: Path, fake: FakeEngine) -> None:
    fake.kept[NAME] = FakeImage("sha256:theirs", {})
    images.ensure(entry, NAME)
    assert fake.removed == []


def test_an_outdated_image_in_use_stays(
    entry: Path, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(image_id: str) -> None:
        response = Response()
        response.status_code = 409
        raise APIError("in use", response=response)

    fake.kept[NAME] = _outdated()
    monkeypatch.setattr(fake, "remove", refuse)
    assert images.ensure(entry, NAME) == fake.kept[NAME].id


def test_a_refused_load_says_what_the_engine_said(entry: Path, fake: FakeEngine) -> None:
    fake.says = "no space left on device"
    with pytest.raises(EnvironmentLacks, match="no space left on device"):
        images.ensure(entry, NAME)


def _layout(file: Path) -> tuple[tarfile.TarFile, Any]:
    archive = tarfile.open(file)  # noqa: SIM115 - closed with the test's process
    return archive, _json(archive, "index.json")


def test_a_layout_shares_layers_and_names_every_image(tmp_path: Path) -> None:
    shared, own = tmp_path / "shared.tar", tmp_path / "own.tar"
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    oci.write_layer(shared, {"usr/bin/all": program, "usr/bin/one": "/usr/bin/all"}, ["tmp"])
    oci.write_layer(own, {"start": program})
    file = tmp_path / "images.tar"
    layers = oci.write_layout(
        file,
        [
            oci.Image("registry.example/one:1", [shared], {"Entrypoint": ["/one"]}),
            oci.Image("registry.example/two:1", [shared, own], {"Entrypoint": ["/two"]}),
        ],
    )
    archive, index = _layout(file)
    assert len(layers) == 2
    names = archive.getnames()
    assert len(names) == len(set(names))
    for name in names:
        if name.startswith("blobs/"):
            blob = archive.extractfile(name)
            assert blob is not None
            assert hashlib.sha256(blob.read()).hexdigest() == Path(name).name
    said = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert said == ["registry.example/one:1", "registry.example/two:1"]
    manifest = _json(archive, "blobs/" + index["manifests"][1]["digest"].replace(":", "/"))
    config = _json(archive, "blobs/" + manifest["config"]["digest"].replace(":", "/"))
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]


def test_a_layer_has_its_folders_links_and_modes(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"x" * 700)
    layer = tmp_path / "layer.tar"
    oci.write_layer(layer, {"usr/bin/all": program, "usr/bin/one": "/usr/bin/all"}, ["tmp"])
    with tarfile.open(layer) as archive:
        facts = {entry.name: (entry.type, entry.mode) for entry in archive}
        assert archive.getmember("usr/bin/one").linkname == "/usr/bin/all"
        assert archive.getmember("usr/bin/all").size == 700
    assert facts["tmp"] == (tarfile.DIRTYPE, 0o1777)
    assert facts["usr"] == (tarfile.DIRTYPE, 0o755)
    assert facts["usr/bin/all"] == (tarfile.REGTYPE, 0o755)
