"""What the outside world publishes, made of this machine's own parts.

A registry with upstream's names, each tag an index of two platforms as upstream's are; the
programs as release files with checksum files, and a Helm repository, as a folder for a web
server; the Python packages as wheels. That proves the path, not the publishers: what
upstream's own images do differently, only a machine with a network can show.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import requests
import yaml

from harness.base import process
from harness.base.progress import Progress
from harness.supply import libraries
from harness.supply.base import Part, Provided, chart_part, find_part
from harness.supply.engine import engine
from harness.supply.offline.supply import OfflineSupply
from harness.supply.online.downloads import Host
from harness.supply.online.registries import Reference
from tests.live import registry as registries
from tests.live.debian import make_debian

IMAGES = ("node", "vault", "postgres")
PROGRAMS = ("kind", "kubectl", "vault-cli")
CHART = "secrets-store-csi-driver"
DEBIAN = "kube-vault-labs/debian:laptop"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def parts(progress: Progress) -> dict[str, Provided]:
    """The parts of the offline supply that are published here; built where they are missing."""
    return OfflineSupply().provide((*IMAGES, *PROGRAMS), progress)


def fill_registry(folder: Path, provided: dict[str, Provided]) -> None:
    """Fill the storage of a registry in `folder`, which is ended again."""
    with closing(engine.client()) as client, registries.running(folder) as registry:
        make_debian(client, folder / "debian", DEBIAN)
        try:
            filled = {online(name).online["image"]: provided[name].image for name in IMAGES}
            filled[online("app").online["image"]] = DEBIAN
            for upstream, local in filled.items():
                registry.put(upstream, local)
                make_index(registry, Reference.parse(upstream))
        finally:
            for reference in (DEBIAN, f"{DEBIAN}-bare"):
                client.images.remove(reference, noprune=True)


def make_index(registry: registries.Registry, upstream: Reference) -> None:
    """Put an index of two platforms in the place of the one image that a tag stands for.

    The second image has the layers of the first: nobody here will ever pull it.
    """
    base = f"http://{registry.address}/v2/{upstream.path}"
    accept = {"Accept": ", ".join(MANIFESTS)}
    answer = requests.get(f"{base}/manifests/{upstream.tag}", headers=accept, timeout=30)
    answer.raise_for_status()
    media_type, manifest = answer.headers["Content-Type"], answer.json()
    config = requests.get(f"{base}/blobs/{manifest['config']['digest']}", timeout=30).json()
    entries = [_described(media_type, answer.content, config["architecture"])]
    other = "arm64" if config["architecture"] != "arm64" else "amd64"
    changed = json.dumps({**config, "architecture": other}).encode()
    _put_blob(base, changed)
    manifest["config"] |= {"digest": _digest(changed), "size": len(changed)}
    second = json.dumps(manifest).encode()
    _put_manifest(base, _digest(second), media_type, second)
    entries.append(_described(media_type, second, other))
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    _put_manifest(base, upstream.tag, INDEX, json.dumps(index).encode())


def write_releases(folder: Path, provided: dict[str, Provided]) -> None:
    """Lay the programs out like their publishers' sites, with checksum files."""
    host = Host.here()
    for name in PROGRAMS:
        part, found = online(name), provided[name].path
        assert found is not None
        fields = {"version": part.version, "os": host.os, "arch": host.arch}
        file = folder / urlsplit(part.online["url"].format(**fields)).path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if member := part.online.get("member"):
            with zipfile.ZipFile(file, "w") as archive:
                archive.write(found, member.format(**fields))
        else:
            file.write_bytes(found.read_bytes())
        sums = folder / urlsplit(part.online["checksum"].format(**fields)).path.lstrip("/")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        sums.write_text(f"{digest}  {file.name}\n", encoding="ascii")


def write_chart(folder: Path) -> None:
    """A Helm repository with a made-up chart of the pinned name and version."""
    part = online(chart_part(CHART))
    site = folder / urlsplit(part.online["repository"]).path.strip("/")
    site.mkdir(parents=True, exist_ok=True)
    chart = {"apiVersion": "v2", "name": CHART, "version": part.version}
    archive = site / f"{CHART}-{part.version}.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        content = yaml.safe_dump(chart).encode()
        entry = tarfile.TarInfo(f"{CHART}/Chart.yaml")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    # As upstream writes it: an address in full, at the publisher's own host.
    address = f"{part.online['repository']}/{archive.name}"
    entry_of_index = {**chart, "urls": [address], "digest": digest}
    index = {"apiVersion": "v1", "entries": {CHART: [entry_of_index]}}
    (site / "index.yaml").write_text(yaml.safe_dump(index), encoding="utf-8")


def write_wheels(folder: Path) -> None:
    """The Python packages of the labs' image: a proxy that goes nowhere keeps pip from them."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / "requirements.txt"
    wanted.write_text(libraries.wanted(), encoding="utf-8")
    words = libraries.pip("download", Host.here().arch)
    process.run([*words, "--dest", folder, "-r", wanted], timeout=600)


def online(name: str) -> Part:
    """The part as the online supply has it."""
    return find_part(name).at("online")


def _described(media_type: str, manifest: bytes, architecture: str) -> dict[str, object]:
    return {
        "mediaType": media_type,
        "digest": _digest(manifest),
        "size": len(manifest),
        "platform": {"os": "linux", "architecture": architecture},
    }


def _put_blob(base: str, content: bytes) -> None:
    begun = requests.post(f"{base}/blobs/uploads/", timeout=30)
    begun.raise_for_status()
    where = begun.headers["Location"]
    joint = "&" if "?" in where else "?"
    requests.put(
        f"{where}{joint}digest={_digest(content)}", data=content, timeout=30
    ).raise_for_status()


def _put_manifest(base: str, name: str, media_type: str, content: bytes) -> None:
    headers = {"Content-Type": media_type}
    requests.put(
        f"{base}/manifests/{name}", data=content, headers=headers, timeout=30
    ).raise_for_status()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
