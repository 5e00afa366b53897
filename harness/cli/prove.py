"""`lab test`: what is to be proved, and by which stages (harness.proving.suite)."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.base.errors import UsageError
from harness.cli.common import KubernetesRelease, SupplyName, app


@app.command("test")
def prove(
    quick: Annotated[
        bool, typer.Option("--quick", help="Only what needs no engine: lint, types, unit tests.")
    ] = False,
    laptop: Annotated[
        bool,
        typer.Option(
            "--laptop",
            help="Only this: a current Docker, built here, a plain user, no network (root).",
        ),
    ] = False,
    faults: Annotated[
        bool,
        typer.Option("--faults", help="Only this: every fault of the matrix (docs/faults.md)."),
    ] = False,
    fuzz: Annotated[
        bool,
        typer.Option("--fuzz", help="Only this: random input for the stand-ins, 5 minutes a kind."),
    ] = False,
    supply: SupplyName = "auto",
    kubernetes: KubernetesRelease = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Passed on to pytest (after --).")
    ] = None,
) -> None:
    """Prove that everything works: lint, types, unit tests, every lab, every notebook."""
    from harness.base.paths import INSTALLED

    if INSTALLED:
        raise UsageError(
            "the project's own tests are in its checkout, not in the installed package",
            hint="pytest --lab-only 01 proves a lab",
        )
    from harness.proving import suite

    if laptop:
        raise typer.Exit(suite.laptop(arguments or []))
    if fuzz:
        raise typer.Exit(suite.fuzz(arguments or []))
    if faults:
        raise typer.Exit(suite.faults(supply, arguments or []))
    raise typer.Exit(suite.run(quick, supply, kubernetes, arguments or []))
