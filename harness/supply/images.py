"""Images in the container engine: from cache entries, and from there into cluster nodes.

A cache entry holds a root file system and a run configuration; the engine loads the two
as an image of one layer. A label carries the entry's key, so that an image which is there is
used at once and an outdated one of the same name is replaced. Nothing here pulls.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound

from harness.base.errors import EnvironmentLacks
from harness.base.labels import MANAGED_BY
from harness.base.paths import PROJECT
from harness.supply import oci
from harness.supply.engine import engine

KEY_LABEL = f"{PROJECT}.key"
# Which name an image was made for: it identifies an outdated image whose name has moved on.
NAME_LABEL = f"{PROJECT}.image"
# The engine API from which an image can be saved for one platform alone (Docker 28).
PLATFORM_API = (1, 48)
_CHUNK = 1 << 20


def name_of(part: str, version: str) -> str:
    """The name under which an image of this project is kept in the engine."""
    return f"{PROJECT}/{part}:{version}"


def ensure(entry: Path, reference: str, labels: Mapping[str, str] | None = None) -> str:
    """Make the image of the cache entry `entry` present as `reference`; return its ID.

    `entry` holds rootfs.tar and image.json, and its folder name is its key. Raises
    EnvironmentLacks when the engine does not take the image (no room, no permission).
    """
    with _engine() as client:
        before = find(client, reference)
        if before is not None and before.labels.get(KEY_LABEL) == entry.name:
            return str(before.id)
        marks = {**(labels or {}), **marks_of(entry, reference)}
        last = load(client, archive_of(entry, reference, marks))[-1:]
        image = find(client, reference)
        if image is None:
            raise EnvironmentLacks(
                f"the engine did not take {reference}: {last or 'it did not say why'}",
                where=str(entry),
                hint="docker system df; the log of the engine",
            )
        _remove_outdated(client, reference)
        return str(image.id)


def marks_of(entry: Path, reference: str) -> dict[str, str]:
    """The labels by which the image of a cache entry is known again."""
    return {KEY_LABEL: entry.name, NAME_LABEL: reference, MANAGED_BY: PROJECT}


def load(client: docker.DockerClient, archive: Iterable[bytes]) -> list[Any]:
    """Give the engine an archive of images, chunk by chunk; returns what it said about it."""
    # types-docker has no types for this method, the SDK itself has none at all.
    return list(client.api.load_image(archive) or ())  # type: ignore[no-untyped-call] # see above


def present(entry: Path, reference: str) -> bool:
    """Whether `ensure` would have nothing to do."""
    with _engine() as client:
        image = find(client, reference)
        return image is not None and image.labels.get(KEY_LABEL) == entry.name


def find(client: docker.DockerClient, reference: str) -> Any | None:
    """The engine's image of that name (docker.models.images.Image), None without one."""
    try:
        return client.images.get(reference)
    except ImageNotFound:
        return None


def archive_of(entry: Path, reference: str, labels: Mapping[str, str]) -> Iterator[bytes]:
    """A cache entry as the archive that `docker load` reads, chunk by chunk.

    The same entry and labels always give the same image ID. (`docker import` would spare
    the hashing, but cannot set a stop signal and stamps the time into the ID.)
    """
    return archive(reference, config_of(entry, labels), [entry / "rootfs.tar"])


def config_of(entry: Path, labels: Mapping[str, str]) -> bytes:
    """The configuration of the image of a cache entry, as image-spec has it."""
    with (entry / "rootfs.tar").open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    given = json.loads((entry / "image.json").read_text(encoding="utf-8"))
    config = {
        "architecture": oci.architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {**given, "Labels": {**given.get("Labels", {}), **labels}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": PROJECT}],
    }
    return json.dumps(config, sort_keys=True).encode()


def archive(reference: str, config: bytes, layers: Sequence[Path]) -> Iterator[bytes]:
    """One image as the archive that `docker load` reads; `layers` are uncompressed tars."""
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    names = [f"layer-{number}.tar" for number in range(len(layers))]
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": names}]
    yield from _member(name, config)
    yield from _member("manifest.json", json.dumps(manifest).encode())
    for member, layer in zip(names, layers, strict=True):
        size = layer.stat().st_size
        yield _header(member, size)
        with layer.open("rb") as content:
            while chunk := content.read(_CHUNK):
                yield chunk
        yield _padding(size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def saved(*references: str) -> Generator[bytes]:
    """Images of the engine as one archive, chunk by chunk: this platform's only.

    With the containerd image store an engine keeps the index of all platforms but the
    content of one, and a node that imports the whole index fails on what is missing.
    """
    with _engine() as client:
        parameters: dict[str, Any] = {"names": list(references)}
        if _api(client) >= PLATFORM_API:
            system, _, machine = engine.platform_of(client).partition("/")
            parameters["platform"] = json.dumps({"os": system, "architecture": machine})
        url = f"{client.api.base_url}/v{client.api.api_version}/images/get"
        with client.api.get(url, params=parameters, stream=True) as response:
            if response.status_code == requests.codes.not_found:
                raise EnvironmentLacks(
                    f"the engine does not have {' or '.join(references)}",
                    hint="./lab up provides it",
                )
            response.raise_for_status()
            yield from response.iter_content(_CHUNK)


@contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    """A client whose failures are sentences."""
    client = engine.client()
    try:
        yield client
    except APIError as error:
        raise EnvironmentLacks(
            f"the container engine refused: {error.explanation or error}",
            where=engine.address(),
            hint="docker system df; docker version",
        ) from error
    except (DockerException, requests.RequestException) as error:
        raise EnvironmentLacks(
            f"the container engine stopped answering: {error}",
            where=engine.address(),
            hint="docker version, then the same command again",
        ) from error
    finally:
        client.close()


def _remove_outdated(client: docker.DockerClient, reference: str) -> None:
    """Remove images made for `reference` that have lost that name to a newer one.

    One that a container still uses stays, until the next image of that name comes.
    """
    filters = {"dangling": True, "label": f"{NAME_LABEL}={reference}"}
    for outdated in client.images.list(filters=filters):
        try:
            client.images.remove(str(outdated.id))
        except APIError as error:
            if error.status_code not in (requests.codes.conflict, requests.codes.not_found):
                raise


def _api(client: docker.DockerClient) -> tuple[int, ...]:
    return tuple(int(number) for number in str(client.api.api_version).split("."))


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content))
    yield content
    yield _padding(len(content))


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
