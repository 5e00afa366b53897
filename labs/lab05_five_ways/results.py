"""What was measured, as a file: results.json in the lab's state (docs/results.md).

It holds numbers and names, never a value of a secret. Each run of a measuring step writes its
part anew; undoing the step takes the part away.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.lab.api import LabContext
from labs.lab05_five_ways.ways import WAYS

SCHEMA = 1
# What the measuring steps write: 7, 8, 10 and 11.
PARTS = ("ways", "leaks", "outages", "scale")
EMPTY = "–"


def file_of(lab: LabContext) -> Path:
    """The file with the results of this environment."""
    return lab.folder / "results.json"


def load(lab: LabContext) -> dict[str, Any]:
    """The results so far; {} before the first."""
    file = file_of(lab)
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def keep(lab: LabContext, **parts: Any) -> None:
    """Write parts of the results anew: one of PARTS, `ways` with `load_average`."""
    results = load(lab) | {
        "schema": SCHEMA,
        "taken": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "environment": {
            "vault": lab.access.flavour,
            "vault_version": lab.http.get("/v1/sys/health").json()["version"],
            "kubernetes_version": json.loads(lab.run("kubectl version -o json"))["serverVersion"][
                "gitVersion"
            ],
            "images": dict(lab.access.images),
        },
        **parts,
    }
    _write(lab, results)


def drop(lab: LabContext, *parts: str) -> None:
    """Take parts of the results away; the file goes with the last one."""
    results = {name: part for name, part in load(lab).items() if name not in parts}
    if set(PARTS) & set(results):
        _write(lab, results)
    else:
        file_of(lab).unlink(missing_ok=True)


def _write(lab: LabContext, results: dict[str, Any]) -> None:
    file_of(lab).parent.mkdir(parents=True, exist_ok=True)
    file_of(lab).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def load_average() -> float:
    """How many processes wait for this machine's cores: it explains slow figures."""
    return round(os.getloadavg()[0], 1)


def seconds(values: Sequence[float]) -> str:
    """`2.1` for one value, `2.1 (1.9–2.6)` for several: the median and the spread."""
    if not values:
        return EMPTY
    middle = f"{statistics.median(values):.1f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.1f}–{max(values):.1f})"


def print_table(rows: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Print a table with one column for each way; the first row bears their names."""
    lines = [("", [way.title for way in WAYS]), *rows]
    first = max(len(name) for name, _ in lines) + 2
    widths = [max(len(cells[n]) for _, cells in lines) + 2 for n in range(len(WAYS))]
    for name, cells in lines:
        print(
            name.ljust(first)
            + "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        )
