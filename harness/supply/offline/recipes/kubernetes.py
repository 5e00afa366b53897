"""Kubernetes, etcd, CoreDNS and containerd: one Go module, one call of the compiler.

Each k8s.io staging module is replaced by the release that belongs to this Kubernetes;
CoreDNS names only the plug-ins of kubeadm's Corefile. Together they compile in little
more than the time of Kubernetes alone, since they share its packages.
"""

from __future__ import annotations

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
    """Leaves the programs of a node in bin: kubernetes (all of Kubernetes), kubectl, etcd, ..."""

    name = "kubernetes"
    heavy = True

    def inputs(self) -> Iterable[str]:
        yield "2"
        yield oci.architecture()
        yield from golang.FLAGS
        yield from TAGS
        yield from golang.text_of("cluster")
        yield find_part("kubernetes").version

    def build(self, job: Job) -> None:
        gobuild.build(
            job,
            gobuild.prepare(job, "cluster"),
            PACKAGES,
            tags=TAGS,
            variables=_stamps(find_part("kubernetes").version, find_part("containerd").version),
        )
        # Relative, so that it still holds when the entry is moved into its place.
        (job.out / "bin/kubectl").symlink_to("kubernetes")


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
