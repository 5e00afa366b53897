"""The operator stand-in's template engine, of the source in clusters/offline/go/gotemplate."""

from __future__ import annotations

from collections.abc import Iterable

from harness.supply import golang, oci
from harness.supply.offline import gobuild
from harness.supply.offline.recipe import Job, Recipe


class GoTemplate(Recipe):
    """Leaves bin/gotemplate."""

    name = "gotemplate"

    def inputs(self) -> Iterable[str]:
        return ["1", oci.architecture(), *golang.FLAGS, *golang.text_of(self.name)]

    def build(self, job: Job) -> None:
        gobuild.build(job, gobuild.prepare(job, self.name), ["."])


recipe = GoTemplate()
