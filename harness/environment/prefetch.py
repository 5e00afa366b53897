"""Getting ready what later labs need while an earlier one is told: `lab fetch`, beside it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.base import process
from harness.base.errors import LabError
from harness.base.paths import CHECKOUT
from harness.lab.steps import Lab

# The lab that is told comes first: builds get what it leaves of the processors.
NICENESS = 10


@contextmanager
def fetching(labs: Sequence[Lab], supply: str, flavour: str, log: Path) -> Iterator[None]:
    """Get the parts of `labs` ready while the block runs; what is unfinished then is ended.

    A failure is in `log` only: the lab that needs the part meets it again, and tells it.
    """
    if not labs:
        yield
        return
    words = [
        *(sys.executable, "-m", "harness.cli", "fetch", "--supply", supply, "--vault", flavour),
        *(lab.number for lab in labs),
    ]
    scope = process.Scope()

    def fetch() -> None:
        with scope, suppress(LabError):
            process.run(words, cwd=CHECKOUT, log=log, niceness=NICENESS)

    thread = threading.Thread(target=fetch, name="fetch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        scope.end()
        thread.join()
