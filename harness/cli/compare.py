"""`lab compare`: two results of lab 05 beside each other, with ratios (docs/results.md)."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from rich.table import Table

from harness.base.errors import UsageError

SCHEMA = 1
# Cells of a way that are numbers: what a person reads, and the key in the file.
FIGURES = {
    "pod created to secret read, s": "start_seconds",
    "change to file, s": "change_to_file_seconds",
    "change to restarted process, s": "change_to_restarted_process_seconds",
    "requests to Vault at start": "requests_at_start",
    "Vault tokens left by a pod": "tokens_left_by_a_pod",
    "lines for Vault in the shop": "lines_for_vault",
    "memory of the pod, MiB": "pod_memory_mib",
    "memory of its parts, MiB": "cluster_memory_mib",
    "CPU of the pod, m": "pod_cpu_millicores",
    "CPU of its parts, m": "cluster_cpu_millicores",
}


def read(file: Path) -> dict[str, Any]:
    """One results.json. Raises UsageError for what is none."""
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file} cannot be read as results: {error}",
            hint="./lab run 05 writes labs/05/results.json into the environment's state",
        ) from None
    if not isinstance(results, dict) or results.get("schema") != SCHEMA or "ways" not in results:
        raise UsageError(
            f"{file} holds no results of schema {SCHEMA}",
            hint="docs/results.md says what it must hold; step 05.7 measures",
        )
    return results


def compare(first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each way and figure that both have: the two numbers and second by first."""
    rows = []
    for way in first["ways"]:
        for title, key in FIGURES.items():
            one, other = (_number(side["ways"].get(way, {}).get(key)) for side in (first, second))
            if one is None or other is None:
                continue
            ratio = round(other / one, 2) if one else None
            rows.append({"way": way, "figure": title, "a": one, "b": other, "ratio": ratio})
    return rows


def nudged_apart(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """The ways whose changes were hurried in one of the two only: not to be compared."""
    return [
        way
        for way, one in first["ways"].items()
        if one.get("change_nudged") != second["ways"].get(way, {}).get("change_nudged")
    ]


def name_of(results: dict[str, Any]) -> str:
    """What was measured: `vault 1.21.4, v1.36.3, load 2.1`."""
    where = results["environment"]
    load = max(results.get("load_average") or [0])
    return f"{where['vault']} {where['vault_version']}, {where['kubernetes_version']}, load {load}"


def tables(rows: list[dict[str, Any]], first: str, second: str) -> list[Table]:
    """The rows for a person."""
    table = Table(title=f"A: {first}\nB: {second}", title_justify="left")
    for column in ("way", "figure", "A", "B", "B / A"):
        table.add_column(column, justify="left" if column in ("way", "figure") else "right")
    before = ""
    for row in rows:
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:g}"
        way = row["way"] if row["way"] != before else ""
        table.add_row(way, row["figure"], f"{row['a']:g}", f"{row['b']:g}", ratio)
        before = row["way"]
    return [table]


def shown(cell: Any) -> str:
    """A cell for a person: the median of a list with its range, "–" for what is no number."""
    middle = _number(cell)
    if middle is None:
        return "–"
    spread = isinstance(cell, list) and len(cell) > 1
    return f"{middle:g}" + (f" ({min(cell):g}–{max(cell):g})" if spread else "")


def _number(cell: Any) -> float | None:
    """A cell as one number: the median of a list; None for what is none."""
    if isinstance(cell, list):
        return round(statistics.median(cell), 2) if cell else None
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return float(cell)
    return None
