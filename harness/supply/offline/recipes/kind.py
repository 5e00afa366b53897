"""kind from its Go module; the node image takes kind's node files from the same module."""

from __future__ import annotations

from collections.abc import Iterable

from harness.supply import golang, oci
from harness.supply.offline import gobuild
from harness.supply.offline.recipe import Job, Recipe


class Kind(Recipe):
    """Leaves bin/kind."""

    name = "kind"

    def inputs(self) -> Iterable[str]:
        return ["1", oci.architecture(), *golang.FLAGS, *golang.text_of("kind")]

    def build(self, job: Job) -> None:
        gobuild.build(job, gobuild.prepare(job, "kind"), ["sigs.k8s.io/kind"])


recipe = Kind()
