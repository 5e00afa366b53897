"""What a recipe of the offline supply is: named inputs in, a folder of artefacts out.

A recipe says what its result depends on (`inputs`, and the recipes it `needs`); the
cache turns that into a key and calls `build` only when no finished entry has that key.
A finished entry holds programs under `bin/`, or an image as `rootfs.tar` beside
`image.json` (the configuration that `docker import` gets), or both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base import process


@dataclass(frozen=True)
class Job:
    """One run of a recipe.

    `out` is empty at the start and becomes the cache entry when `build` returns. `work`
    is kept after a failure or an interrupt, so that the next run can go on there.
    `needs` maps the names of the needed recipes to their finished entries. `shared` is
    the folder for caches that all recipes use together (Go's module and build caches).
    A `background` job takes what another one leaves of the processors.
    """

    out: Path
    work: Path
    shared: Path
    needs: Mapping[str, Path]
    log: Path
    say: Callable[[str], None]
    background: bool = False

    def run(
        self,
        argv: Iterable[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 3600,
        on_line: Callable[[str], None] | None = None,
        niceness: int = 0,
    ) -> str:
        """Run a program with its output in this job's log (harness.base.process.run)."""
        return process.run(
            list(argv),
            env=env,
            cwd=cwd or self.work,
            log=self.log,
            timeout=timeout,
            on_line=on_line,
            niceness=niceness,
        )


class Recipe(ABC):
    """How one cache entry is made.

    `heavy` recipes keep all cores busy by themselves and run one at a time, the others
    run beside them. `packages` are Debian packages that the host must have.
    """

    name: str
    needs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    heavy: bool = False

    @abstractmethod
    def inputs(self) -> Iterable[str]:
        """Everything the result depends on, as text: versions, options, file contents."""

    @abstractmethod
    def build(self, job: Job) -> None:
        """Fill `job.out`. Raise LabError (job.run does) when it cannot be done."""
