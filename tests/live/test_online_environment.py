"""The online supply, whole: an environment from a registry and release files, nothing built.

A real registry on the loopback serves the images of the offline supply under upstream's
names, a folder serves the programs in their publishers' form with checksum files. That
proves the path, not the publishers: what upstream's own images do differently, only a
machine with a network can show.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.base.paths import CHECKOUT
from harness.base.progress import reporting
from harness.lab.access import Access
from harness.supply import images
from harness.supply.base import Provided, find_part
from harness.supply.engine import engine
from harness.supply.offline.supply import OfflineSupply
from harness.supply.online.downloads import Host
from tests.live import registry as registries
from tests.live.debian import make_debian

pytestmark = pytest.mark.live

NAME = "test-online"
IMAGES = ("node", "vault", "postgres")
PROGRAMS = ("kind", "kubectl", "vault-cli")
DEBIAN = "kube-vault-labs/debian:test"


@pytest.fixture
def offline() -> dict[str, Provided]:
    """The parts as the offline supply has them (built by then, so nothing is built here)."""
    supply = OfflineSupply()
    wanted = (*IMAGES, *PROGRAMS)
    if not supply.cached(wanted):
        pytest.skip("the offline parts are not in the cache: this run is online already")
    with reporting() as progress:
        return supply.provide(wanted, progress)


@pytest.fixture
def releases(offline: dict[str, Provided], tmp_path: Path) -> Path:
    """A folder laid out like the publishers' sites, for LAB_DOWNLOADS."""
    host = Host.here()
    for name in PROGRAMS:
        # The online supply has releases of its own of some parts.
        part, found = find_part(name).at("online"), offline[name].path
        assert found is not None
        fields = {"version": part.version, "os": host.os, "arch": host.arch}
        file = tmp_path / urlsplit(part.online["url"].format(**fields)).path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if member := part.online.get("member"):
            with zipfile.ZipFile(file, "w") as archive:
                archive.write(found, member.format(**fields))
        else:
            file.write_bytes(found.read_bytes())
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        sums = tmp_path / urlsplit(part.online["checksum"].format(**fields)).path.lstrip("/")
        sums.write_text(f"{digest}  {file.name}\n", encoding="ascii")
    return tmp_path


@pytest.fixture
def mirror(offline: dict[str, Provided], tmp_path: Path) -> Iterator[str]:
    """The address of a registry with upstream's names; the tags it brings are removed."""
    client = engine.client()
    make_debian(client, tmp_path / "debian", DEBIAN)
    filled = {find_part(name).online["image"]: offline[name].image for name in IMAGES}
    filled[find_part("app").online["image"]] = DEBIAN
    with registries.filled_registry(filled, tmp_path / "registry") as running:
        yield running.address
    # What was pulled keeps the mirror's name with a digest, beside the name that it was given.
    pulled = [
        reference
        for image in client.api.images()
        for reference in image["RepoDigests"] or []
        if reference.startswith(f"{running.address}/")
    ]
    for reference in (*filled, DEBIAN, f"{DEBIAN}-bare", *pulled):
        if images.find(client, reference):
            client.images.remove(reference, noprune=True)
    client.close()


@pytest.fixture
def variables(mirror: str, releases: Path, tmp_path: Path) -> dict[str, str]:
    """A person's environment: a mirror, a folder of releases, an empty cache."""
    return {
        **os.environ,
        "LAB_MIRROR": mirror,
        "LAB_DOWNLOADS": str(releases),
        "LAB_STATE": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


def lab(variables: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        cwd=CHECKOUT,
        env=variables,
        text=True,
        capture_output=True,
        timeout=900,
        check=False,
    )


def test_an_environment_from_a_registry_and_release_files(
    environment: Access, variables: dict[str, str]
) -> None:
    """`auto` picks online because the mirror answers; lab 01 works up to its first login."""
    if environment.flavour != "vault":
        pytest.skip("once is enough: the run on the other flavour has done it")
    try:
        up = lab(variables, "up", "--env", NAME)
        assert up.returncode == 0, up.stderr
        told = json.loads(lab(variables, "status", "--env", NAME, "-o", "json").stdout)
        assert told["supply"].startswith("online: ")
        origins = {part["part"]: part["origin"] for part in told["parts"]}
        for name in IMAGES[:2]:
            assert variables["LAB_MIRROR"] in origins[name], origins
        for name in PROGRAMS:
            assert "built on this machine" not in origins[name]
        solved = lab(variables, "solve", "01.5", "--env", NAME)
        assert solved.returncode == 0, solved.stderr
        again = lab(variables, "up", "--env", NAME)
        assert again.returncode == 0, again.stderr
    finally:
        down = lab(variables, "down", "--env", NAME)
    assert down.returncode == 0, down.stderr
