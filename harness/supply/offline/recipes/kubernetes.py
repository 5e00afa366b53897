"""Kubernetes, etcd and CoreDNS: one Go module, one call of the compiler.

Each k8s.io staging module is replaced by the release that belongs to this Kubernetes;
CoreDNS names only the plug-ins of kubeadm's Corefile. Together they compile in little
more than the time of Kubernetes alone, since they share its packages.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import LabError
from harness.supply import golang, oci
from harness.supply.base import find_part
from harness.supply.offline import gobuild
from harness.supply.offline.recipe import Job, Recipe

PACKAGES = ("./kubernetes", "./etcd", "./coredns")
VERSION = "k8s.io/component-base/version"
# client-go 0.34 has dropped this field, CoreDNS 1.12.1 still sets it to what became fixed.
INFORMER = "plugin/kubernetes/object/informer.go"
DROPPED_LINE = "\t\tRetryOnError:     false,\n"


class Kubernetes(Recipe):
    """Leaves bin/kubernetes (all of Kubernetes, by name), bin/kubectl, bin/etcd, bin/coredns."""

    name = "kubernetes"
    heavy = True

    def inputs(self) -> Iterable[str]:
        yield "1"
        yield oci.architecture()
        yield from golang.FLAGS
        yield from golang.text_of("cluster")
        yield find_part("kubernetes").version
        yield str(find_part("coredns").offline["sum"])

    def build(self, job: Job) -> None:
        module = gobuild.prepare(job, "cluster")
        job.say("fetching CoreDNS")
        coredns = module / "src/coredns"
        gobuild.copy_source(gobuild.source(job, find_part("coredns")), coredns)
        _drop_line(coredns / INFORMER, DROPPED_LINE)
        gobuild.build(job, module, PACKAGES, variables=_stamps(find_part("kubernetes").version))
        # Relative, so that it still holds when the entry is moved into its place.
        (job.out / "bin/kubectl").symlink_to("kubernetes")


def _stamps(version: str) -> dict[str, str]:
    """What upstream's release build writes into its programs, as far as it is known here."""
    major, minor, _ = version.split(".")
    return {
        f"{VERSION}.gitVersion": f"v{version}",
        f"{VERSION}.gitMajor": major,
        f"{VERSION}.gitMinor": minor,
        f"{VERSION}.gitCommit": "",
        # Upstream's word for a source tree that is not a git checkout.
        f"{VERSION}.gitTreeState": "archive",
        "k8s.io/client-go/pkg/version.gitVersion": f"v{version}",
    }


def _drop_line(file: Path, line: str) -> None:
    text = file.read_text(encoding="utf-8")
    if text.count(line) != 1:
        raise LabError(
            "CoreDNS's source does not have the one line that must go",
            where=f"{file}: {line.strip()}",
            hint="another version of CoreDNS needs another change, or none",
        )
    file.write_text(text.replace(line, ""), encoding="utf-8")


recipe = Kubernetes()
