"""Prefetch parts of later labs in the background: `lab fetch` beside the tour of an earlier one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.base import process, tasks
from harness.base.errors import LabError
from harness.base.paths import work_folder
from harness.lab.steps import Lab

# The tour comes first: builds get what it leaves of the processors.
NICENESS = 10


@contextmanager
def fetching(
    labs: Sequence[Lab], supply: str, flavour: str, release: str, log: Path
) -> Iterator[None]:
    """Provide the parts of `labs` while the block runs; what is unfinished then is ended.

    A failure is in `log` only: the lab that needs the part meets it again, and reports it.
    """
    if not labs:
        yield
        return
    words = [
        *(sys.executable, "-m", "harness.cli", "fetch", "--supply", supply, "--vault", flavour),
        *("--kubernetes", release),
        *(lab.number for lab in labs),
    ]

    def fetch() -> None:
        with suppress(LabError):
            process.run(words, cwd=work_folder(), log=log, niceness=NICENESS)

    with tasks.Group[None]() as group:
        group.start("fetch", fetch)
        yield
