"""The commands for authors of labs: new, render.

Imports are inside the commands, so that `lab --help` answers at once.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import UsageError
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
    from harness.base.paths import INSTALLED
    from harness.lab.catalog import OWN, PATH_VARIABLE, outside
    from harness.lab.scaffold import new_lab

    if INSTALLED and into is None:
        raise UsageError(
            "the installed package takes no labs",
            hint="a folder of your own: lab new NUMBER TITLE --into FOLDER",
        )
    target = into.expanduser().absolute() if into else OWN
    folder = new_lab(target, number, title, (OWN, *outside()))
    for file in sorted(folder.iterdir()):
        sys.stdout.write(f"{_short(file)}\n")
    if target not in (OWN, *outside()):
        first = f"first: export {PATH_VARIABLE}={shlex.quote(str(target))}"
        messages.print(first, markup=False, soft_wrap=True)
    proof = "pytest" if INSTALLED else "./lab test --"
    messages.print(
        f"next: ./lab render writes its notebooks, ./lab run {number} tells it,\n"
        f"      {proof} --lab-only {number} proves it; labs/README.md says how to go on",
        markup=False,
    )


@app.command()
def render() -> None:
    """Write the notebooks, exercises and pictures of all labs; print which ones changed."""
    from harness.base.paths import INSTALLED
    from harness.lab.catalog import OWN, labs_in, outside
    from harness.notebook.readme import write_readmes
    from harness.notebook.render import differing, notebooks_of_labs, write_all

    for home in outside() if INSTALLED else (OWN, *outside()):
        folder, labs = notebooks_of_labs(home), labs_in(home)
        for file in write_all(folder, labs):
            sys.stdout.write(f"{_short(file)}\n")
        for complaint in differing(folder, labs):
            messages.print(f"{complaint}: delete it", style="yellow", markup=False)
    for file in () if INSTALLED else write_readmes():
        sys.stdout.write(f"{_short(file)}\n")


def _short(file: Path) -> str:
    """The file as a person would name it: relative to the checkout when it lies there."""
    from harness.base.paths import work_folder

    folder = work_folder()
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file)
