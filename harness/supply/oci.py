"""Writing container images without an engine: one OCI image layout, in a tar.

An image here is one or more layer tars and a configuration; several images may share
layers. The layout (image-spec v1.1, image-layout.md) is what `ctr images import` and
`docker load` (from 25) read. Nothing is compressed: the archives never leave this
machine, and unpacking is what costs time.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.base.statefile import digest_of

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
# containerd takes the reference from this annotation, docker from the second one.
NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """An image to write: its reference, its layers (tars) and its run configuration.

    `config` has the keys of the specification's `config` object: Entrypoint, Cmd, Env,
    User, WorkingDir, Labels.
    """

    reference: str
    layers: Sequence[Path]
    config: Mapping[str, Any] = field(default_factory=dict)


def architecture() -> str:
    """This machine's architecture in Go's words, which image manifests use."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def write_layout(target: Path, images: Iterable[Image]) -> set[str]:
    """Write `images` as one OCI image layout to the tar `target`; return its layers' digests."""
    digests: dict[Path, tuple[str, int]] = {}
    written: set[str] = set()
    entries = []
    with tarfile.open(target, "w") as archive:
        for image in images:
            layers = []
            for layer in image.layers:
                if layer not in digests:
                    digests[layer] = (digest_of(layer), layer.stat().st_size)
                digest, size = digests[layer]
                if digest not in written:
                    archive.add(layer, _blob(digest), filter=_plain)
                    written.add(digest)
                layers.append({"mediaType": LAYER, "digest": digest, "size": size})
            config = _json(
                {
                    "architecture": architecture(),
                    "os": "linux",
                    "config": dict(image.config),
                    "rootfs": {"type": "layers", "diff_ids": [entry["digest"] for entry in layers]},
                }
            )
            manifest = _json(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": _describe(CONFIG, config),
                    "layers": layers,
                }
            )
            for content in (config, manifest):
                digest = _digest(content)
                if digest not in written:
                    _add(archive, _blob(digest), content)
                    written.add(digest)
            entries.append(
                {
                    **_describe(MANIFEST, manifest),
                    "annotations": dict.fromkeys(NAME_ANNOTATIONS, image.reference),
                    "platform": {"architecture": architecture(), "os": "linux"},
                }
            )
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        _add(archive, "index.json", _json(index))
    return {digest for digest, _ in digests.values()}


def write_layer(target: Path, files: Mapping[str, Path | str], folders: Iterable[str] = ()) -> None:
    """Write a layer tar: path in the image to a local file, or to a symbolic link's target.

    Everything belongs to root and is executable, as in an image of a few programs.
    """
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        made: set[str] = set()
        for folder in folders:
            _add_folder(archive, folder, made, mode=0o1777)
        for name, source in sorted(files.items()):
            _add_folder(archive, str(Path(name).parent), made)
            entry = tarfile.TarInfo(name.strip("/"))
            entry.mode = 0o755
            if isinstance(source, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, source
                archive.addfile(entry)
            else:
                entry.size = source.stat().st_size
                with source.open("rb") as content:
                    archive.addfile(entry, content)


def _add_folder(archive: tarfile.TarFile, name: str, made: set[str], mode: int = 0o755) -> None:
    path = Path(name.strip("/"))
    for folder in (*reversed(path.parents), path):
        if str(folder) not in made | {"."}:
            entry = tarfile.TarInfo(str(folder))
            entry.type, entry.mode = tarfile.DIRTYPE, mode if folder == path else 0o755
            archive.addfile(entry)
            made.add(str(folder))


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime, entry.mode = 0, 0o644
    return entry


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _describe(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}
