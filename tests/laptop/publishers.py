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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import requests
import yaml

from harness.base import process
from harness.base.progress import Progress
from harness.base.statefile import digest_of
from harness.supply import libraries, oci
from harness.supply.base import Part, Provided, chart_part, find_part
from harness.supply.offline import apt
from harness.supply.offline.recipes import all_recipes
from harness.supply.offline.supply import OfflineSupply
from harness.supply.online.downloads import Host
from harness.supply.online.registries import Reference
from tests.live import registry as registries
from tests.live.debian import base_archive

IMAGES = ("node", "vault", "postgres")
PROGRAMS = ("kind", "kubectl", "vault-cli")
CHART = "secrets-store-csi-driver"
# What apt expects to be there; the base is without.
APT_FOLDERS = (
    "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial",
    "var/log/apt",
    "etc/apt/sources.list.d",
    "etc/apt/preferences.d",
)


def parts(progress: Progress) -> dict[str, Provided]:
    """The parts of the offline supply that are published here; built where they are missing."""
    return OfflineSupply().provide((*IMAGES, *PROGRAMS), progress)


def fill_registry(folder: Path) -> None:
    """Fill the storage of a registry in `folder`, which is ended again.

    The layers come from the cache and are not compressed: pushing them out of an engine
    takes minutes.
    """
    supply, recipes = OfflineSupply(), all_recipes()
    keys = supply.keys(recipes.values())
    with registries.running(folder) as registry:
        for name in IMAGES:
            recipe = find_part(name).offline["recipe"]
            entry = supply.cache.entry(recipe, keys[recipe])
            config = json.loads((entry / "image.json").read_text(encoding="utf-8"))
            _put_image(registry, online(name).online["image"], [entry / "rootfs.tar"], config)
        layers = [base_archive(), _apt_layer(folder / "apt")]
        _put_image(registry, online("app").online["image"], layers, {})


def _apt_layer(folder: Path) -> Path:
    """What lets apt work in the base: this host's mirrors and proxies, and its own folders."""
    folder.mkdir()
    files = {"sources.list": apt.sources(), "apt.conf.d/90host": apt.acquire_settings()}
    written: dict[str, Path | str] = {}
    for number, (name, lines) in enumerate(files.items()):
        file = folder / str(number)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        written[f"etc/apt/{name}"] = file
    layer = folder / "layer.tar"
    oci.write_layer(layer, written, APT_FOLDERS)
    return layer


def _put_image(
    registry: registries.Registry, upstream: str, layers: Sequence[Path], config: Mapping[str, Any]
) -> None:
    """Put an image under upstream's name, as an index of two platforms.

    The second platform has the layers of the first: nobody here will ever pull it.
    """
    wanted = Reference.parse(upstream)
    base = f"http://{registry.address}/v2/{wanted.path}"
    described = []
    for layer in layers:
        digest = digest_of(layer)
        with layer.open("rb") as content:
            _put_blob(base, digest, content)
        described.append({"mediaType": oci.LAYER, "digest": digest, "size": layer.stat().st_size})
    entries = [_put_platform(base, one, described, config) for one in ("amd64", "arm64")]
    index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}
    _put_manifest(base, wanted.tag, oci.INDEX, json.dumps(index).encode())


def _put_platform(
    base: str, architecture: str, layers: Sequence[Mapping[str, Any]], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Put the configuration and the manifest of one platform; its entry in the index."""
    digests = [layer["digest"] for layer in layers]
    whole = {
        "architecture": architecture,
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": digests},
    }
    content = json.dumps(whole).encode()
    _put_blob(base, _digest(content), content)
    described = {"mediaType": oci.CONFIG, "digest": _digest(content), "size": len(content)}
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": oci.MANIFEST,
            "config": described,
            "layers": list(layers),
        }
    ).encode()
    _put_manifest(base, _digest(manifest), oci.MANIFEST, manifest)
    return {
        "mediaType": oci.MANIFEST,
        "digest": _digest(manifest),
        "size": len(manifest),
        "platform": {"os": "linux", "architecture": architecture},
    }


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


def _put_blob(base: str, digest: str, content: bytes | BinaryIO) -> None:
    begun = requests.post(f"{base}/blobs/uploads/", timeout=30)
    begun.raise_for_status()
    where = begun.headers["Location"]
    joint = "&" if "?" in where else "?"
    requests.put(f"{where}{joint}digest={digest}", data=content, timeout=300).raise_for_status()


def _put_manifest(base: str, name: str, media_type: str, content: bytes) -> None:
    headers = {"Content-Type": media_type}
    requests.put(
        f"{base}/manifests/{name}", data=content, headers=headers, timeout=30
    ).raise_for_status()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
