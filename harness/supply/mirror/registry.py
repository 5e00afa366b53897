"""Images as a registry serves them: a manifest, a configuration and layers, each by its digest.

The image of a cache entry is served from the entry itself. An image that was pulled is in the
engine alone: it is taken out once and kept below the cache, its layers compressed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from harness.base import statefile, tasks
from harness.base.errors import EnvironmentLacks
from harness.base.paths import cache_root
from harness.supply import images, oci
from harness.supply.base import Provided, find_part
from harness.supply.bundle.pack import Say
from harness.supply.mirror.index import ImageEntry
from harness.supply.offline.cache import Cache
from harness.supply.offline.supply import OfflineSupply
from harness.supply.online.registries import Reference

# A room's wifi is slower than this level of compression, a second core is not.
GZIP_LEVEL = 3
GZIP_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Blob:
    """Something that is served by its digest: bytes, or the file that holds them."""

    digest: str
    content: bytes | Path

    @classmethod
    def of(cls, content: bytes) -> Blob:
        """The blob of these bytes."""
        return cls(f"sha256:{hashlib.sha256(content).hexdigest()}", content)


@dataclass(frozen=True)
class Served:
    """An image of the registry: its entry in the index, its manifest, its other blobs."""

    entry: ImageEntry
    manifest: bytes
    blobs: tuple[Blob, ...]


def folder() -> Path:
    """Where layers of pulled images are kept."""
    return cache_root() / "room" / "blobs"


def from_cache(part: Provided) -> Served:
    """The image of the offline supply's `part`: its layer is a file of the cache."""
    found = find_part(part.part)
    ((recipe, key),) = OfflineSupply().entries([part.part]).items()
    entry = Cache().entry(recipe, key)
    config = Blob.of(images.config_of(entry, images.marks_of(entry, part.image)))
    layer = Blob(statefile.digest_of(entry / "rootfs.tar"), entry / "rootfs.tar")
    repository, _, tag = images.name_of(found.name, part.version).rpartition(":")
    return _served(part, repository, tag, config, [(layer, oci.LAYER)])


def from_engine(part: Provided, say: Say) -> Served:
    """The image of the online supply's `part`, taken out of the engine where it is not kept yet."""
    folder().mkdir(parents=True, exist_ok=True)
    kept = folder() / f"{part.digest.partition(':')[2]}.json"
    stored = statefile.read_json(kept)
    files = [folder() / name for name in stored.get("layers", ())]
    if not stored or not all(file.is_file() for file in files):
        config, files = _take_out(part.image, say)
        stored = {"config": config.decode(), "layers": [file.name for file in files]}
        statefile.write_json(kept, stored)
    config_blob = Blob.of(str(stored["config"]).encode())
    layers = [(Blob(f"sha256:{file.stem}", file), GZIP_LAYER) for file in files]
    return _served(part, *_place(part.image), config_blob, layers)


def layer_files(config: bytes, blobs: Iterable[Path], work: Path) -> list[Path]:
    """The layers in `blobs`, as a registry serves them, uncompressed in `work`, in their order.

    Raises ValueError when one is not what the configuration says.
    """
    expected = json.loads(config)["rootfs"]["diff_ids"]
    found = []
    for number, (blob, sum_) in enumerate(zip(blobs, expected, strict=True)):
        with blob.open("rb") as stream:
            compressed = stream.read(2) == b"\x1f\x8b"
        layer = blob
        if compressed:
            layer = work / f"{number}.tar"
            with gzip.open(blob) as source, layer.open("wb") as target:
                shutil.copyfileobj(source, target, _CHUNK)
        if statefile.digest_of(layer) != sum_:
            raise ValueError(f"layer {number} has another sum than the configuration says")
        found.append(layer)
    return found


def _served(
    part: Provided, repository: str, tag: str, config: Blob, layers: list[tuple[Blob, str]]
) -> Served:
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "config": _descriptor(config, oci.CONFIG),
        "layers": [_descriptor(blob, kind) for blob, kind in layers],
    }
    content = Blob.of(json.dumps(manifest, sort_keys=True).encode())
    entry = ImageEntry(part.part, part.image, repository, tag, content.digest)
    return Served(entry, cast("bytes", content.content), (config, *(blob for blob, _ in layers)))


def _descriptor(blob: Blob, kind: str) -> dict[str, Any]:
    size = len(blob.content) if isinstance(blob.content, bytes) else blob.content.stat().st_size
    return {"mediaType": kind, "digest": blob.digest, "size": size}


def _place(reference: str) -> tuple[str, str]:
    """Repository and tag at the mirror: the path without upstream's registry, as LAB_MIRROR asks.

    An image that was built here has a name without a registry, which stays.
    """
    repository, _, tag = reference.rpartition(":")
    if "." in repository.split("/")[0]:
        found = Reference.parse(reference)
        return found.path, found.tag
    return repository, tag


def _take_out(reference: str, say: Say) -> tuple[bytes, list[Path]]:
    """The configuration of an image of the engine, and its layers as files of the store.

    Engines write two kinds of archives (layers in folders of their own, or by digest), and both
    have a manifest.json that names what belongs to the image.
    """
    with tempfile.TemporaryDirectory(dir=folder()) as work:
        small: dict[str, bytes] = {}
        layers: dict[str, Path] = {}
        links: dict[str, str] = {}
        stream = cast("IO[bytes]", _Stream(images.saved(reference)))
        with tarfile.open(mode="r|", fileobj=stream) as archive:
            for member in archive:
                tasks.check()
                source = archive.extractfile(member) if member.isreg() else None
                if member.issym():
                    base = PurePosixPath(member.name).parent
                    links[member.name] = _normal(base / member.linkname)
                elif source and _is_layer(member):
                    layers[member.name] = _compressed(source, Path(work), say)
                elif source:
                    small[member.name] = source.read()
        try:
            described = json.loads(small["manifest.json"])[0]
            config = small[described["Config"]]
            names = [links.get(name, name) for name in described["Layers"]]
            # A small layer by its digest lies among the small files.
            for name in set(names) & set(small):
                layers[name] = _compressed(io.BytesIO(small[name]), Path(work), say)
            files = [layers[name] for name in names]
        except (KeyError, ValueError, IndexError) as error:
            raise EnvironmentLacks(
                f"the engine saved {reference} in a form that is not known: {error}",
                where=reference,
                hint="./lab bundle save FILE makes a file instead of a mirror",
            ) from error
    return config, files


def _is_layer(member: tarfile.TarInfo) -> bool:
    """Whether a file of an engine's archive is large, so not JSON."""
    return member.name.endswith("layer.tar") or member.size > 64 * 1024


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _compressed(source: IO[bytes], work: Path, say: Say) -> Path:
    """A layer compressed into the store under its digest; one that is compressed stays as it is."""
    beside = work / "layer"
    done = 0
    first = source.read(_CHUNK)
    with beside.open("wb") as file:
        # No time in the header: the same layer has the same digest tomorrow.
        target = (
            file
            if first.startswith(b"\x1f\x8b")
            else gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0)
        )
        while first:
            target.write(first)
            done += len(first)
            say(f"compressing, {done / 1e6:.0f} MB")
            first = source.read(_CHUNK)
        if target is not file:
            target.close()
    place = folder() / f"{statefile.file_sha256(beside)}.gz"
    beside.replace(place)
    return place


class _Stream:
    """Chunks as a file that can only be read forwards."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int = -1) -> bytes:
        pieces, have = [self._rest], len(self._rest)
        while size < 0 or have < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            pieces.append(chunk)
            have += len(chunk)
        content = b"".join(pieces)
        cut = len(content) if size < 0 else size
        self._rest = content[cut:]
        return content[:cut]
