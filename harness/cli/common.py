"""What all commands of `lab` share: the application, the options, how results are shown."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from harness.base.errors import UsageError
from harness.base.redact import redact

if TYPE_CHECKING:
    from harness.base.progress import Progress
    from harness.environment.environment import Environment
    from harness.lab.access import Access
    from harness.lab.context import LabContext
    from harness.lab.steps import Lab, Step
    from harness.session.runner import Runner
    from harness.supply.base import Provided, Supply

# In `lab --help`: what learners need, what is about the environment, what is for others.
ORDER = (
    *("run", "learn", "shell", "check", "hint", "solve", "skip", "watch", "reset", "report"),
    *("up", "status", "env", "fetch", "down", "doctor", "diagnostics", "version", "gc"),
    *("compare", "bundle", "mirror", "apiserver", "new", "render", "test"),
)


class InOrder(TyperGroup):
    """The commands in an order that a newcomer can read."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names: those of ORDER first, in its order."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    cls=InOrder,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Hands-on labs about Kubernetes secrets with HashiCorp Vault.\n\n"
    "`lab run` brings everything up and walks through the labs; `lab test` proves that they work.",
)
messages = Console(stderr=True, highlight=False)

EnvName = Annotated[str, typer.Option("--env", envvar="LAB_ENV", help="Name of the environment.")]
SupplyName = Annotated[
    str,
    typer.Option(
        "--supply", envvar="LAB_SUPPLY", help="Where parts come from: auto, online or offline."
    ),
]
FlavourName = Annotated[
    str | None, typer.Option("--vault", help="Which Vault: vault (default) or openbao.")
]
KubernetesRelease = Annotated[
    str | None,
    typer.Option(
        "--kubernetes",
        envvar="LAB_KUBERNETES",
        metavar="RELEASE",
        help="Which Kubernetes: 1.36 (default) or 1.37.",
    ),
]
Labs = Annotated[list[str] | None, typer.Argument(metavar="[LAB]...")]
FlavourNames = Annotated[
    list[str] | None, typer.Option("--vault", help="Which Vault; may be given twice.")
]
KubernetesReleases = Annotated[
    list[str] | None, typer.Option("--kubernetes", help="Which Kubernetes; likewise.")
]
ShellLab = Annotated[
    str, typer.Argument(metavar="[LAB]", help="The lab to work in; the first not done without it.")
]
Output = Annotated[str, typer.Option("-o", "--output", help="table or json.")]


def environment(name: str) -> Environment:
    """The environment of this name, running or not. Raises UsageError for a bad name."""
    from harness.environment.environment import Environment

    return Environment(name)


def bring_up(
    name: str,
    supply: str,
    flavour: str | None,
    port: int | None = None,
    needs: tuple[str, ...] = (),
    kubernetes: str | None = None,
    new_vault: bool = False,
    kubeconfig: Path | None = None,
) -> Access:
    """Bring the environment up with progress shown; return how to reach it."""
    from harness.base.progress import reporting
    from harness.environment.environment import Options

    with reporting() as progress:
        options = Options(supply, flavour, port, needs, kubernetes, new_vault, kubeconfig)
        return environment(name).up(options, progress)


def provided_for(
    labs: Sequence[Lab],
    supply: str,
    flavours: list[str] | None,
    releases: list[str] | None,
    progress: Progress,
) -> tuple[Supply, Mapping[str, Provided]]:
    """What these labs need, built or downloaded where it is missing, and its supply."""
    from harness.environment import parts

    needs = dict.fromkeys(need for lab in labs for need in lab.needs)
    return parts.provide(supply, flavours or ["vault"], needs, progress, releases or ())


def chosen_labs(numbers: list[str] | None) -> Sequence[Lab]:
    """The labs of these numbers; all labs without any. Raises UsageError."""
    from harness.lab import catalog

    return [catalog.find_lab(number) for number in numbers or ()] or catalog.all_labs()


def context(name: str, lab: Lab) -> LabContext:
    """The lab's context; what the lab needs is installed first if it is missing."""
    from harness.lab.context import LabContext

    found = environment(name)
    access, record = found.running(), found.record
    if record and not set(lab.needs) <= set(record.needs):
        access = bring_up(name, record.supply, None, needs=lab.needs)
    return LabContext(access, lab)


def lab_at_work(number: str, env: str) -> Lab:
    """The lab with this number; without one, the first that is not done. Raises UsageError."""
    from harness.cli.status import first_open
    from harness.lab import catalog

    return catalog.find_lab(number or first_open(environment(env)))


def one_step(what: str, env: str) -> tuple[Runner, Step]:
    """The one step that `what` names, and a runner for its lab. Raises UsageError."""
    from harness.lab.catalog import find_steps
    from harness.session.runner import Runner

    lab, steps = find_steps(what)
    if len(steps) > 1:
        raise UsageError(f"{what} is a whole lab", hint=f"name one of its steps: {lab.number}.1")
    return Runner(context(env, lab)), steps[0]


def show_fact(fact: str) -> None:
    """Tell on standard error that something holds."""
    messages.print(f"  ✓ {redact(fact)}", style="green", markup=False)


def show(data: Any, output: str, tables: Any) -> None:
    """Print `data` as JSON, or as the tables that `tables(data)` makes of it."""
    if output == "json":
        import json

        sys.stdout.write(redact(json.dumps(data, indent=2)) + "\n")
    elif output == "table":
        console = Console(highlight=False)
        for table in tables(data):
            console.print(table)
    else:
        raise UsageError(f"there is no output format {output!r}", hint="-o table or -o json")
