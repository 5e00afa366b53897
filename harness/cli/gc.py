"""The command that frees what the cache holds and no checkout needs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from harness.cli.common import Output, app, messages, show


@app.command("gc")
def collect(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be freed.")
    ] = False,
    builds: Annotated[
        bool,
        typer.Option("--builds", help="Also compilers' caches and packages: builds take longer."),
    ] = False,
    output: Output = "table",
) -> None:
    """Show what the cache holds, free what no checkout on this machine needs."""
    from harness.supply import leftovers, pins

    pins.note()
    held = leftovers.survey(list(pins.known()))
    rows = []
    freed = 0
    for one in held:
        goes = not one.why or (builds and one.why == leftovers.FOR_BUILDS)
        outcome = one.why
        if goes and dry_run:
            outcome, freed = "would be freed", freed + one.size
        elif goes and leftovers.free(one):
            outcome, freed = "freed", freed + one.size
        elif goes:
            outcome = "stays: another process works on it"
        rows.append(
            {
                "name": one.name,
                "megabytes": round(one.size / 1e6, 1),
                "last_use": datetime.fromtimestamp(one.used, UTC).isoformat(timespec="minutes"),
                "outcome": outcome,
            }
        )
    show(rows, output, _tables)
    total = sum(one.size for one in held)
    verb = "would be freed" if dry_run else "freed"
    messages.print(f"{freed / 1e6:.0f} MB of {total / 1e6:.0f} MB {verb}", markup=False)


def _tables(rows: list[dict[str, object]]) -> list[object]:
    from rich.table import Table

    table = Table("what", "MB", "last use", "outcome")
    # Single wheels say little: together they are one line.
    for outcome in dict.fromkeys(row["outcome"] for row in rows if _is_wheel(row)):
        of_them = [row for row in rows if _is_wheel(row) and row["outcome"] == outcome]
        size = sum(float(str(row["megabytes"])) for row in of_them)
        last = max(str(row["last_use"]) for row in of_them)
        table.add_row(f"wheels ({len(of_them)} files)", f"{size:.1f}", last, str(outcome))
    for row in rows:
        if not _is_wheel(row):
            table.add_row(*(str(row[key]) for key in ("name", "megabytes", "last_use", "outcome")))
    return [table]


def _is_wheel(row: dict[str, object]) -> bool:
    return str(row["name"]).startswith("wheels/")
