"""The `lab` command: parse, call, print. What a command does lives in the modules it calls.

Here are the commands about the environment and this machine; those about labs and steps
are in harness.cli.steps, those for authors in harness.cli.authors, `lab test` in harness.cli.prove.
Imports are inside the
commands, so that `lab --help` answers at once. Data goes to standard output, messages and
progress to standard error; errors of the LabError tree become one block of text and their
exit code.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import LabError, UsageError
from harness.base.redact import redact
from harness.cli import apiserver, authors, bundle, gc, mirror, prove, steps
from harness.cli.common import (
    EnvName,
    FlavourName,
    FlavourNames,
    KubernetesRelease,
    KubernetesReleases,
    Labs,
    Output,
    ShellLab,
    SupplyName,
    app,
    bring_up,
    chosen_labs,
    context,
    environment,
    lab_at_work,
    messages,
    provided_for,
    show,
)
from harness.supply import surroundings

__all__ = ["apiserver", "authors", "bundle", "gc", "main", "mirror", "prove", "steps"]

INTERRUPTED = 130


@app.command()
def up(
    labs: Labs = None,
    env: EnvName = "lab",
    supply: SupplyName = "auto",
    vault: FlavourName = None,
    vault_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of Vault on 127.0.0.1; a free one by default."),
    ] = None,
    kubernetes: KubernetesRelease = None,
    new_vault: Annotated[
        bool,
        typer.Option("--new-vault", help="Remove Vault with everything in it; make a new one."),
    ] = False,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of a kind cluster that you bring along (docs/ci.md)."),
    ] = None,
) -> None:
    """Bring the environment up, or repair it; with what the named labs need."""
    from harness.lab import catalog

    needs = dict.fromkeys(need for lab in labs or () for need in catalog.find_lab(lab).needs)
    bring_up(env, supply, vault, vault_port, tuple(needs), kubernetes, new_vault, kubeconfig)


@app.command()
def fetch(
    labs: Labs = None,
    supply: SupplyName = "auto",
    vault: FlavourNames = None,
    kubernetes: KubernetesReleases = None,
) -> None:
    """Build or download what the named labs need, or all labs; start none of it."""
    from harness.base.progress import reporting

    chosen = chosen_labs(labs)
    with reporting() as progress:
        found, provided = provided_for(chosen, supply, vault, kubernetes, progress)
    messages.print(f"{len(provided)} parts are here, {found.name}: {found.why}", markup=False)


@app.command()
def status(env: EnvName = "lab", output: Output = "table") -> None:
    """Show what runs, where each part comes from and how far the labs are."""
    from harness.cli import status

    found = status.status(environment(env))
    show(found, output, status.tables)


@app.command("env")
def env_(
    lab: ShellLab = "",
    env: EnvName = "lab",
    token: Annotated[
        bool, typer.Option("--token", help="Also VAULT_TOKEN and other secrets.")
    ] = False,
) -> None:
    """Print `export` lines for a shell: eval "$(./lab env)"."""
    import shlex

    from harness.base import proxies
    from harness.lab.context import LabContext

    chosen = lab_at_work(lab, env)
    # The token may have been revoked: only an environment that runs can create it again.
    access = environment(env).running() if token else environment(env).access()
    work = LabContext(access, chosen)
    variables = {**work.shell_variables(), **proxies.exceptions()}
    variables["PATH"] = f"{work.access.programs}:$PATH"
    if token:
        variables |= work.secret_variables()
    for name, value in variables.items():
        shown = f'"{value}"' if name == "PATH" else shlex.quote(value)
        sys.stdout.write(f"export {name}={shown}\n")


@app.command()
def shell(lab: ShellLab = "", env: EnvName = "lab") -> None:
    """Open a shell for a lab, with kubectl, vault and their variables set; `exit` ends it."""
    from harness.lab.context import LabContext
    from harness.session.runner import Runner

    chosen = lab_at_work(lab, env)
    found = environment(env)
    # Who names a lab gets what it needs; a shell alone installs nothing.
    work = context(env, chosen) if lab else LabContext(found.running(), chosen)
    runner = Runner(work)
    step, record = runner.next_step(), found.record
    if step and record and set(chosen.needs) <= set(record.needs):
        runner.begin(step)
    program = os.environ.get("SHELL") or "/bin/sh"
    variables = {**os.environ, **work.shell_environment()}
    messages.print(
        f"kubectl and vault speak to environment {env}, in the namespace {work.namespace} of lab "
        f"{chosen.number}; `exit` leaves",
        style="dim",
    )
    os.execvpe(program, [program], variables)  # noqa: S606 # a person's own shell, no arguments


@app.command()
def down(
    env: EnvName = "lab",
    everything: Annotated[bool, typer.Option("--all", help="Every environment.")] = False,
    engine: Annotated[
        bool, typer.Option("--engine", help="Also stop the container engine that lab started.")
    ] = False,
) -> None:
    """Remove the environment: containers, network, volumes, state."""
    from harness.environment.environment import Environment, existing
    from harness.session.leaving import leave
    from harness.supply.engine import dockerd

    for name in existing() if everything else [env]:
        leave(Environment(name))
        removed = Environment(name).down()
        for line in removed:
            messages.print(f"removed {line}", style="dim", markup=False)
        gone = "is gone" if removed else "was gone already"
        messages.print(f"environment {name} {gone}", markup=False)
    if engine:
        stopped = dockerd.stop()
        messages.print("the engine is stopped" if stopped else "no engine of ours was running")


@app.command()
def doctor(
    node: Annotated[
        str,
        typer.Option(
            "--node",
            metavar="IMAGE",
            help="Look at a node image instead: has it all that is expected inside a node?",
        ),
    ] = "",
    output: Output = "table",
) -> None:
    """Look at this machine: engine, disk, memory, kernel, cache, registries."""
    from harness.cli import doctor as machine

    findings = machine.examine_node(node) if node else machine.examine()
    show(machine.to_data(findings), output, machine.tables)
    if any(finding.level == "bad" for finding in findings):
        raise typer.Exit(3)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="results.json of lab 05.")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="Another one.")],
    output: Output = "table",
) -> None:
    """Compare two results of lab 05: Vault with OpenBao, stand-ins with upstream, ..."""
    from harness.cli import compare as comparison

    a, b = comparison.read(first), comparison.read(second)
    rows = comparison.compare(a, b)
    names = comparison.name_of(a), comparison.name_of(b)
    show(rows, output, lambda found: comparison.tables(found, *names))
    apart = comparison.nudged_apart(a, b)
    if apart:
        messages.print(
            f"change to file was hurried in one of the two only: {', '.join(apart)}",
            style="yellow",
        )


@app.command()
def diagnostics(env: EnvName = "lab") -> None:
    """Write what an engineer would ask for first (redacted) to reports/diagnostics."""
    from harness.base.paths import work_folder
    from harness.environment import diagnostics as pictures

    folder = work_folder() / "reports" / "diagnostics" / env
    pictures.collect(environment(env), folder)
    messages.print(f"written to {folder.relative_to(work_folder())}", markup=False)


@app.command()
def version() -> None:
    """Print the version of this project and of every pinned part."""
    from importlib import metadata

    from harness.cli.status import project_version
    from harness.supply.base import all_parts

    sys.stdout.write(f"kube-vault-labs {project_version()}\n")
    sys.stdout.write(f"pytest-kind {metadata.version('pytest-kind')}\n")
    for part in all_parts().values():
        online = part.at("online").version
        other = f", online {online}" if online != part.version else ""
        sys.stdout.write(f"{part.name} {part.version}{other} ({part.licence})\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    # Ended by another program is ended by a person: builds and kind must not be left behind.
    # A shell starts what it puts in the background with Ctrl-C ignored, and so would be all
    # that is started from here: `kill -INT` must work there too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    surroundings.settle()
    try:
        return int(app(args=arguments, prog_name="lab", standalone_mode=False) or 0)
    except LabError as error:
        messages.print(redact(str(error)), style="red", markup=False)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        messages.print("\ninterrupted; the same command goes on where it stopped", style="yellow")
        return INTERRUPTED
    except Exception as error:
        # typer has its own copy of click and does not export the exceptions by which a
        # wrong option is reported; their methods say which is which.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return UsageError.exit_code


if __name__ == "__main__":
    sys.exit(main())
