"""The commands for authors of labs: new, render.

Imports are inside the commands, so that `lab --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.common import app, messages


@app.command()
def new(
    number: Annotated[str, typer.Argument(help="Two digits that no lab has yet: 07.")],
    title: Annotated[str, typer.Argument(help="What the lab is called.")],
) -> None:
    """Make the folder of a new lab: it works as it is, and is yours to fill."""
    from harness.base.paths import CHECKOUT
    from harness.lab.scaffold import new_lab

    folder = new_lab(CHECKOUT / "labs", number, title)
    for file in sorted(folder.iterdir()):
        sys.stdout.write(f"{file.relative_to(CHECKOUT)}\n")
    messages.print(
        f"next: ./lab render writes its notebooks, ./lab run {number} tells it,\n"
        f"      ./lab test -- --lab-only {number} proves it; labs/README.md says how to go on",
        markup=False,
    )


@app.command()
def render() -> None:
    """Write the notebooks, exercises and pictures of all labs; print which ones changed."""
    from harness.base.paths import CHECKOUT
    from harness.notebook.readme import write_readmes
    from harness.notebook.render import NOTEBOOKS, differing, write_all

    for file in [*write_all(NOTEBOOKS), *write_readmes()]:
        sys.stdout.write(f"{file.relative_to(CHECKOUT)}\n")
    for complaint in differing(NOTEBOOKS):
        messages.print(f"{complaint}: delete it", style="yellow", markup=False)
