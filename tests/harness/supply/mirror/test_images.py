"""Images of the engine at a mirror: what a machine gives to its engine is what the other's had."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from harness.base.errors import UsageError
from harness.supply import images
from harness.supply.base import Provided, find_part
from harness.supply.bundle import save
from harness.supply.mirror import client, index, registry, room
from harness.supply.mirror.content import table
from harness.supply.mirror.index import Index
from harness.supply.mirror.room import Room
from harness.supply.online.supply import OnlineSupply
from tests.fakes import room as fake
from tests.fakes.progress import Silent

REFERENCE = "docker.io/library/postgres:15-bookworm"
LAYERS = [Random(number).randbytes(90_000) for number in (1, 2)]  # noqa: S311 # no secret


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


CONFIG = json.dumps(
    {"os": "linux", "rootfs": {"diff_ids": [f"sha256:{sum_of(layer)}" for layer in LAYERS]}}
).encode()
PART = Provided("postgres", "15", "pulled", True, f"sha256:{sum_of(CONFIG)}", image=REFERENCE)


def engine_archive(kind: str) -> bytes:
    """What `docker save` writes: layers in folders (one of them a link), or by their digests."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:

        def add(name: str, content: bytes) -> str:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
            return name

        if kind == "folders":
            link = tarfile.TarInfo("bbb/layer.tar")
            link.type, link.linkname = tarfile.SYMTYPE, "../aaa/layer.tar"
            archive.addfile(link)
            add("aaa/layer.tar", LAYERS[0])
            names = [link.name, add("ccc/layer.tar", LAYERS[1])]
            config = add(f"{sum_of(CONFIG)}.json", CONFIG)
        else:
            names = [add(f"blobs/sha256/{sum_of(layer)}", layer) for layer in LAYERS]
            config = add(f"blobs/sha256/{sum_of(CONFIG)}", CONFIG)
        described = [{"Config": config, "RepoTags": [REFERENCE], "Layers": names}]
        add("manifest.json", json.dumps(described).encode())
    return written.getvalue()


@pytest.fixture(params=["folders", "digests"])
def served(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> registry.Served:
    """The image as a mirror has it, taken out of an engine of that kind."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    saved = engine_archive(request.param)

    def chunks(*references: str) -> Iterator[bytes]:
        assert references == (REFERENCE,)
        yield from (saved[place : place + 1000] for place in range(0, len(saved), 1000))

    monkeypatch.setattr(images, "saved", chunks)
    return registry.from_engine(PART, lambda doing: None)


@pytest.fixture
def mirror(served: registry.Served) -> Room:
    found = Index(save.manifest_of("online", {}, ["02"]), (served.entry,))
    room.certificates()
    ca = room.folder() / "ca.crt"
    return Room(found, table(ca, found, {}, [], [served], None))


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[bytes, list[bytes]]]:
    """What reached the engine of the machine that joined."""
    found: dict[str, tuple[bytes, list[bytes]]] = {}

    def give(image: index.ImageEntry, config: bytes, layers: list[Path]) -> None:
        found[image.reference] = config, [layer.read_bytes() for layer in layers]

    def missing(self: OnlineSupply, parts: list[str]) -> list[object]:
        return [] if REFERENCE in found else [find_part("postgres")]

    monkeypatch.setattr(client, "give_to_engine", give)
    monkeypatch.setattr(OnlineSupply, "missing", missing)
    return found


def bring(url: str) -> None:
    joined = index.Joined(url, room.certificates())
    index.remember(joined, (room.folder() / "ca.crt").read_text())
    client.bring(joined, "online", [], ["postgres"], Silent())


def test_an_image_arrives_as_the_engine_had_it(
    mirror: Room, given: dict[str, tuple[bytes, list[bytes]]]
) -> None:
    with fake.serving(mirror) as url:
        bring(url)
        assert given == {REFERENCE: (CONFIG, LAYERS)}
        assert list(index.downloads().iterdir()) == []
        bring(url)


def test_it_is_asked_for_under_the_path_that_a_named_mirror_is_asked_for(
    served: registry.Served,
) -> None:
    assert (served.entry.repository, served.entry.tag) == ("library/postgres", "15-bookworm")


def test_an_image_is_taken_out_of_the_engine_once(
    served: registry.Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "saved", lambda *_: pytest.fail("the engine was asked again"))
    assert registry.from_engine(PART, lambda doing: None) == served


def test_an_altered_layer_does_not_reach_the_engine(
    mirror: Room, served: registry.Served, given: dict[str, tuple[bytes, list[bytes]]]
) -> None:
    layer = served.blobs[1].content
    assert isinstance(layer, Path)
    layer.write_bytes(layer.read_bytes()[:-1] + b"#")
    with fake.serving(mirror) as url, pytest.raises(UsageError, match="altered"):
        bring(url)
    assert given == {}


def test_layers_that_are_not_those_of_the_configuration_do_not_reach_the_engine(
    served: registry.Served, tmp_path: Path
) -> None:
    blobs = [blob.content for blob in served.blobs[1:]]
    with pytest.raises(ValueError, match="another sum than the configuration says"):
        registry.layer_files(
            CONFIG, [blob for blob in blobs[::-1] if isinstance(blob, Path)], tmp_path
        )
