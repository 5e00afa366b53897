"""The commands for authors of labs: new, render.

Imports are inside the commands, so that `lab --help` answers at once.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import app, messages


@app.command()
def new(
    number: Annotated[str, typer.Argument(help="Two digits that no lab has yet: 07.")],
    title: Annotated[str, typer.Argument(help="What the lab is called.")],
    into: Annotated[
        Path | None,
        typer.Option(help="A folder of your own, outside this checkout; LAB_PATH names it then."),
    ] = None,
) -> None:
    """Make the folder of a new lab: it works as it is, and is yours to fill."""
    from harness.lab.catalog import OWN, PATH_VARIABLE, outside
    from harness.lab.scaffold import new_lab

    target = into.expanduser().absolute() if into else OWN
    folder = new_lab(target, number, title, (OWN, *outside()))
    for file in sorted(folder.iterdir()):
        sys.stdout.write(f"{_short(file)}\n")
    if target not in (OWN, *outside()):
        first = f"first: export {PATH_VARIABLE}={shlex.quote(str(target))}"
        messages.print(first, markup=False, soft_wrap=True)
    messages.print(
        f"next: ./lab render writes its notebooks, ./lab run {number} tells it,\n"
        f"      ./lab test -- --lab-only {number} proves it; labs/README.md says how to go on",
        markup=False,
    )


@app.command()
def render() -> None:
    """Write the notebooks, exercises and pictures of all labs; print which ones changed."""
    from harness.lab.catalog import OWN, labs_in, outside
    from harness.notebook.readme import write_readmes
    from harness.notebook.render import differing, notebooks_of_labs, write_all

    for home in (OWN, *outside()):
        folder, labs = notebooks_of_labs(home), labs_in(home)
        for file in write_all(folder, labs):
            sys.stdout.write(f"{_short(file)}\n")
        for complaint in differing(folder, labs):
            messages.print(f"{complaint}: delete it", style="yellow", markup=False)
    for file in write_readmes():
        sys.stdout.write(f"{_short(file)}\n")


def _short(file: Path) -> str:
    """The file as a person would name it: relative to the checkout when it lies there."""
    from harness.base.paths import CHECKOUT

    return str(file.relative_to(CHECKOUT) if file.is_relative_to(CHECKOUT) else file)
