"""Helm from its Go module: only for upstream's charts, so no lab's first run waits for it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.supply import golang, oci
from harness.supply.base import find_part
from harness.supply.offline import gobuild
from harness.supply.offline.recipe import Job, Recipe


class Helm(Recipe):
    """Leaves bin/helm."""

    name = "helm"
    heavy = True

    def inputs(self) -> Iterable[str]:
        return ["1", oci.architecture(), *golang.FLAGS, *golang.text_of("helm")]

    def build(self, job: Job) -> None:
        gobuild.build(
            job,
            gobuild.prepare(job, "helm"),
            ["helm.sh/helm/v3/cmd/helm"],
            variables={"helm.sh/helm/v3/internal/version.version": f"v{find_part('helm').version}"},
        )


recipe = Helm()
