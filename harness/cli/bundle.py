"""The commands about bundles: everything that labs need in one file, for a day without a network.

Imports are inside the commands, so that `lab --help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.common import (
    FlavourNames,
    KubernetesReleases,
    Labs,
    Output,
    SupplyName,
    app,
    chosen_labs,
    messages,
    provided_for,
    show,
)

if TYPE_CHECKING:
    from rich.table import Table

    from harness.supply.bundle.format import Bundle

bundle = typer.Typer(
    no_args_is_help=True,
    help="Put everything that labs need into one file, and load it where there is no network.",
)
app.add_typer(bundle, name="bundle")

File = Annotated[Path, typer.Argument(metavar="FILE", help="The bundle.")]


@bundle.command()
def save(
    file: File,
    labs: Labs = None,
    supply: SupplyName = "auto",
    vault: FlavourNames = None,
    kubernetes: KubernetesReleases = None,
) -> None:
    """Write FILE with what the named labs need, or all labs; fetch what is missing first."""
    from harness.base.progress import reporting
    from harness.supply.bundle import save as saving

    chosen = chosen_labs(labs)
    with reporting() as progress:
        found, provided = provided_for(chosen, supply, vault, kubernetes, progress)
        numbers = [lab.number for lab in chosen]
        saved = saving.save(file.absolute(), found.name, provided, numbers, progress)
    messages.print(
        f"{file}: labs {', '.join(numbers)} for {saved.manifest.platform} and Python"
        f" {saved.manifest.python}, {file.stat().st_size / 1e6:.0f} MB",
        markup=False,
    )
    if own := saved.own_use():
        messages.print(
            f"for your own use, not to be published: {', '.join(own)} (HashiCorp's BUSL-1.1)",
            style="yellow",
            markup=False,
        )


@bundle.command()
def load(file: File) -> None:
    """Put what is in FILE where `up` looks for it; refuse a file that is not whole."""
    from harness.base.progress import reporting
    from harness.supply.bundle import load as loading

    with reporting() as progress:
        loaded = loading.load(file.absolute(), progress)
    words = " ".join(loaded.manifest.labs)
    messages.print(f"loaded; labs {words} need no network: ./lab run", markup=False)


@bundle.command()
def verify(file: File, output: Output = "table") -> None:
    """Compare every sum in FILE and show what is in it; write nothing."""
    from dataclasses import asdict

    from harness.base.progress import reporting
    from harness.supply.bundle import load as loading

    with reporting() as progress:
        found = loading.verify(file.absolute(), progress)
    data = asdict(found.manifest) if output == "json" else found
    show(data, output, _tables)


def _tables(found: Bundle) -> list[Table]:
    """The bundle as a person reads it: its parts, and what is said about all of it."""
    from rich.table import Table

    manifest = found.manifest
    wheels = sum(record.kind == "wheel" for record in manifest.records)
    table = Table(
        title=f"labs {', '.join(manifest.labs)} for {manifest.platform}, {manifest.supply} supply,"
        f" {wheels} packages for Python {manifest.python}",
        title_justify="left",
        caption=manifest.notice,
        caption_justify="left",
    )
    for column in ("part", "version", "licence", "own use only", "digest"):
        table.add_column(column)
    for part in manifest.parts:
        own = "yes" if part["own_use"] else ""
        table.add_row(
            *(str(part[key]) for key in ("name", "version", "licence")),
            own,
            str(part["digest"])[:19],
        )
    return [table]
