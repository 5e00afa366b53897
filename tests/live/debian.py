"""An image like the publisher's Debian, for a registry on the loopback.

It is the offline supply's base with apt made ready: this host's mirrors and proxies. That
lets the online supply build its own images on a machine that reaches no registry.
"""

from __future__ import annotations

from pathlib import Path

import docker

from harness.supply.offline import apt
from harness.supply.offline.recipes import all_recipes
from harness.supply.offline.supply import OfflineSupply


def base_archive() -> Path:
    """The root file system of the offline supply's base; it may not have been built yet."""
    supply = OfflineSupply()
    entry = supply.cache.entry("base", supply.keys(all_recipes().values())["base"])
    return entry / "rootfs.tar"


def make_debian(client: docker.DockerClient, context: Path, reference: str) -> None:
    """Make it in the engine as `reference`, and beside it `reference`-bare."""
    repository, _, tag = reference.rpartition(":")
    client.api.import_image(str(base_archive()), repository=repository, tag=f"{tag}-bare")
    context.mkdir()
    (context / "sources.list").write_text("\n".join(apt.sources()) + "\n", encoding="utf-8")
    (context / "90host").write_text("\n".join(apt.acquire_settings()) + "\n", encoding="utf-8")
    (context / "Dockerfile").write_text(
        f"FROM {reference}-bare\n"
        "COPY sources.list /etc/apt/sources.list\n"
        "COPY 90host /etc/apt/apt.conf.d/90host\n"
        "RUN mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial /var/log/apt"
        " /etc/apt/sources.list.d /etc/apt/preferences.d\n",
        encoding="utf-8",
    )
    client.images.build(path=str(context), tag=reference, rm=True)
