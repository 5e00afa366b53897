"""Kubernetes, etcd, CoreDNS and containerd: one Go module, one call of the compiler.

Each k8s.io staging module is replaced by the release that belongs to this Kubernetes;
CoreDNS names only the plug-ins of kubeadm's Corefile. Together they compile in little
more than the time of Kubernetes alone, since they share its packages.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from harness.supply import golang, oci
from harness.supply.base import find_part
from harness.supply.offline import gobuild
from harness.supply.offline.recipe import Job, Recipe

CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")
PACKAGES = tuple(f"./{name}" for name in ("kubernetes", "etcd", "coredns", "pause", *CONTAINERD))
# What no node of the labs uses of containerd: other file systems, traces, and a whole
# WebAssembly compiler for plug-ins.
TAGS = ("no_btrfs", "no_devmapper", "no_zfs", "no_tracing", "nri_no_wasm")
VERSION = "k8s.io/component-base/version"
CONTAINERD_VERSION = "github.com/containerd/containerd/v2/version"


class Kubernetes(Recipe):
    """Leaves the programs of a node in bin: kubernetes (all of Kubernetes), kubectl, etcd, ...

    `release` is "" for the default. Another one has a go.mod and a go.sum of its own, and the
    same few sources.
    """

    heavy = True

    def __init__(self, release: str = "") -> None:
        self._suffix = f"-{release}" if release else ""
        self.name = f"kubernetes{self._suffix}"

    def inputs(self) -> Iterable[str]:
        yield "2"
        yield oci.architecture()
        yield from golang.FLAGS
        yield from TAGS
        yield from golang.text_of("cluster")
        if self._suffix:
            yield from golang.text_of(f"cluster{self._suffix}")
        yield from self._versions()

    def build(self, job: Job) -> None:
        module = gobuild.prepare(job, "cluster")
        if self._suffix:
            for name in ("go.mod", "go.sum"):
                shutil.copyfile(golang.module(f"cluster{self._suffix}") / name, module / name)
        gobuild.build(job, module, PACKAGES, tags=TAGS, variables=_stamps(*self._versions()))
        # Relative, so that it still holds when the entry is moved into its place.
        (job.out / "bin/kubectl").symlink_to("kubernetes")

    def _versions(self) -> tuple[str, str]:
        """Of Kubernetes and of containerd."""
        names = (f"{name}{self._suffix}" for name in ("kubernetes", "containerd"))
        kubernetes, containerd = (find_part(name).version for name in names)
        return kubernetes, containerd


def _stamps(version: str, containerd: str) -> dict[str, str]:
    """What upstream's release builds write into their programs, as far as it is known here."""
    major, minor, _ = version.split(".")
    return {
        f"{VERSION}.gitVersion": f"v{version}",
        f"{VERSION}.gitMajor": major,
        f"{VERSION}.gitMinor": minor,
        f"{VERSION}.gitCommit": "",
        # Upstream's word for a source tree that is not a git checkout.
        f"{VERSION}.gitTreeState": "archive",
        "k8s.io/client-go/pkg/version.gitVersion": f"v{version}",
        f"{CONTAINERD_VERSION}.Version": f"v{containerd}",
    }


recipe = Kubernetes()
