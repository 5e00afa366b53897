"""What a room mirror serves: a table of paths, each with bytes or a part of a file.

A path that is not in the table does not exist: no path of a request ever becomes the name of a
file. The registry's paths are the pull half of the OCI distribution specification (v1.1).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.supply import oci
from harness.supply.mirror import index
from harness.supply.mirror.registry import Served

JSON, BYTES = "application/json", "application/octet-stream"
REGISTRY = "/v2/"
REGISTRY_HEADERS = {"Docker-Distribution-Api-Version": "registry/2.0"}
# What git asks for over HTTP without a git server: no settings, no hooks.
GIT_FILES = ("HEAD", "info/refs", "objects/**/*")
_UNKNOWN = {"manifests": "MANIFEST_UNKNOWN", "blobs": "BLOB_UNKNOWN"}


@dataclass(frozen=True)
class Resource:
    """Something to serve: bytes or a file, its media type, headers of its own."""

    content: bytes | Path
    kind: str = BYTES
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size


Table = dict[str, Resource]


def table(
    ca: Path,
    found: index.Index,
    frames: Mapping[str, Path],
    wheels: Iterable[Path],
    images: Iterable[Served],
    repository: Path | None,
) -> Table:
    """Everything that the mirror of this index serves; `frames` are by their sums."""
    paths: Table = {
        index.CA: Resource(ca, "application/x-pem-file"),
        index.INDEX: Resource(found.encoded(), JSON),
    }
    paths |= {index.FRAMES + sum_: Resource(file) for sum_, file in frames.items()}
    paths |= {index.WHEELS + file.name: Resource(file) for file in wheels}
    paths |= _registry(list(images))
    if repository:
        for pattern in GIT_FILES:
            for file in sorted(repository.glob(pattern)):
                if file.is_file():
                    paths[f"{index.REPOSITORY}/{file.relative_to(repository)}"] = Resource(file)
    return paths


def not_found(path: str) -> Resource:
    """The answer for a path that is not in the table: a registry's error where it is one's."""
    if not path.startswith(REGISTRY):
        return Resource(b"not found\n", "text/plain")
    parts = path.split("/")
    code = _UNKNOWN.get(parts[-2] if len(parts) > 3 else "", "NAME_UNKNOWN")
    return registry_error(code, "the mirror does not have it")


def registry_error(code: str, message: str) -> Resource:
    """An error in the registry's form."""
    content = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Resource(content, JSON, REGISTRY_HEADERS)


def _registry(images: list[Served]) -> Table:
    paths: Table = {REGISTRY: Resource(b"{}", JSON, REGISTRY_HEADERS)}
    tags: dict[str, set[str]] = {}
    for image in images:
        entry = image.entry
        base = REGISTRY + entry.repository
        tags.setdefault(entry.repository, set()).add(entry.tag)
        manifest = _by_digest(image.manifest, entry.digest, oci.MANIFEST)
        paths[f"{base}/manifests/{entry.tag}"] = manifest
        paths[f"{base}/manifests/{entry.digest}"] = manifest
        for blob in image.blobs:
            paths[f"{base}/blobs/{blob.digest}"] = _by_digest(blob.content, blob.digest, BYTES)
    for repository, names in tags.items():
        listed = json.dumps({"name": repository, "tags": sorted(names)}).encode()
        paths[f"{REGISTRY}{repository}/tags/list"] = Resource(listed, JSON, REGISTRY_HEADERS)
    return paths


def _by_digest(content: bytes | Path, digest: str, kind: str) -> Resource:
    headers = {**REGISTRY_HEADERS, "Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
    return Resource(content, kind, headers)
