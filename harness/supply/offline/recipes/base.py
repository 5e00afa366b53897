"""Debian bookworm, minimal: the root file system that the other images grow from."""

from __future__ import annotations

from collections.abc import Iterable

from harness.supply.offline import apt, debian
from harness.supply.offline.recipe import Job, Recipe

# In every image made of it anyway: certificates to verify with, and what apt installs for it.
PACKAGES = ("ca-certificates",)


class Base(Recipe):
    """Leaves `rootfs.tar`, with the package database that later steps add to."""

    name = "base"
    packages = ("mmdebstrap", "debian-archive-keyring")

    def inputs(self) -> Iterable[str]:
        return ["1", apt.SUITE, *PACKAGES]

    def build(self, job: Job) -> None:
        job.say("installing minimal Debian")
        debian.bootstrap(job, PACKAGES, job.out / "rootfs.tar")


recipe = Base()
