"""docs/faults.md: what a run of the whole matrix saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.live.faults.fault import RIGHT, SILENT, UNMENDED, VAGUE, WRONG, Outcome

_HEAD = """\
# What can break, and what the labs say

Written by `./lab test --faults`: each fault is made in a real environment, the check of the
step is asked, and the command that it prints is run. **right**: the cause by its name with its
evidence, and the command mends it (where a command can: a dash means that a person must decide).
**not mended**: the cause is right, the command is not. **vague**: no cause. **wrong**: another
cause. **none**: the check passes.

"""


def write(outcomes: Sequence[Outcome], file: Path) -> None:
    """Write the table; one row for each fault."""
    scores = Counter(outcome.score for outcome in outcomes)
    counted = ", ".join(
        f"{scores[one]} {one}" for one in (RIGHT, UNMENDED, VAGUE, WRONG, SILENT) if scores[one]
    )
    rows = [
        f"| {one.fault.lab} | {one.fault.name} | {_cell(one.said)} "
        f"| {'yes' if one.fault.mends else '–'} | {one.score} |"
        for one in outcomes
    ]
    table = "\n".join(["| lab | broken | said | command | score |", "|---|---|---|---|---|", *rows])
    file.write_text(f"{_HEAD}{len(outcomes)} faults: {counted}.\n\n{table}\n", encoding="utf-8")


def _cell(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) < 240 else f"{line[:240]} …"
