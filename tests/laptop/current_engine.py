"""Docker's current server, built from its Go module: what most laptops run.

The module has no go.mod of its own: Docker keeps it under the name vendor.mod, with its
sums. The result is kept in the project's cache like a part, so that it is built once;
containerd comes with the parts of the offline supply, runc from Debian.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from harness.base.progress import Progress
from harness.supply import golang, oci
from harness.supply.base import Part
from harness.supply.offline import gobuild
from harness.supply.offline.cache import Cache, key_of
from harness.supply.offline.recipe import Job, Recipe
from harness.supply.offline.schedule import Schedule

DOCKER = Part(
    name="docker",
    version="28.5.2+incompatible",
    kind="source",
    licence="Apache-2.0",
    about="Docker Engine",
    offline={
        "module": "github.com/docker/docker",
        "sum": "h1:DBX0Y0zAjZbSrm1uzOkdr1onVghKaftjlSWt4AFexzM=",
    },
)
PACKAGES = ("./cmd/dockerd", "./cmd/docker-proxy")
# The btrfs driver wants a C library; without C, names and users are looked up in Go.
TAGS = ("netgo", "osusergo", "exclude_graphdriver_btrfs")
# Two hundred packages of the clouds: logs that go there, and the build cache of GitHub.
CONTROLLER = "builder/builder-next/controller.go"
LEFT_OUT = (
    ("daemon/logdrivers_linux.go", '_ "github.com/docker/docker/daemon/logger/awslogs"'),
    ("daemon/logdrivers_linux.go", '_ "github.com/docker/docker/daemon/logger/gcplogs"'),
    (CONTROLLER, '"github.com/moby/buildkit/cache/remotecache/gha"'),
    (CONTROLLER, '"gha":      gha.ResolveCacheImporterFunc(),'),
    (CONTROLLER, '"gha":      gha.ResolveCacheExporterFunc(),'),
)
VERSION = "github.com/docker/docker/dockerversion"


class DockerEngine(Recipe):
    """Leaves bin/dockerd and bin/docker-proxy."""

    name = "laptop_engine"
    heavy = True

    def inputs(self) -> Iterable[str]:
        yield "1"
        yield oci.architecture()
        yield from golang.FLAGS
        yield from TAGS
        yield from PACKAGES
        for file, line in LEFT_OUT:
            yield f"{file}: {line}"
        yield DOCKER.offline["sum"]

    def build(self, job: Job) -> None:
        source = job.work / "docker"
        shutil.rmtree(source, ignore_errors=True)
        gobuild.copy_source(gobuild.source(job, DOCKER), source, leave_out=["vendor"])
        for name in ("mod", "sum"):
            (source / f"vendor.{name}").replace(source / f"go.{name}")
        for file, line in LEFT_OUT:
            gobuild.change_line(source / file, line, "")
        stamps = {f"{VERSION}.Version": DOCKER.version.partition("+")[0]}
        gobuild.build(job, source, PACKAGES, tags=TAGS, variables=stamps)


def programs(progress: Progress) -> Path:
    """The folder with the engine's programs, built first when they are not in the cache."""
    recipe, cache = DockerEngine(), Cache()
    key = key_of(recipe, {})
    if cache.damage(recipe.name, key) != "":
        Schedule([recipe], {recipe.name: key}, cache, progress).run()
    return cache.entry(recipe.name, key) / "bin"
