"""The program of a pod's sandbox container: a few lines of Go, clusters/offline/go/pause."""

from __future__ import annotations

from collections.abc import Iterable

from harness.supply import golang, oci
from harness.supply.offline import gobuild
from harness.supply.offline.recipe import Job, Recipe


class Pause(Recipe):
    """Leaves bin/pause."""

    name = "pause"
    # Only so that it comes later: then the standard library is compiled already, and these
    # few lines do not compile all of it a second time beside Kubernetes.
    needs = ("kubernetes",)

    def inputs(self) -> Iterable[str]:
        return ["1", oci.architecture(), *golang.FLAGS, *golang.text_of("pause")]

    def build(self, job: Job) -> None:
        gobuild.build(job, gobuild.prepare(job, "pause"), ["."])


recipe = Pause()
