"""The `lab` command: parse, call, print. What a command does lives in the modules it calls.

Imports of those modules are inside the commands, so that `lab --help` answers at once.
Data goes to standard output, messages and progress to standard error; errors of the
LabError tree become one block of text and their exit code (style.md section 5).
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from harness.errors import CheckFailed, LabError, UsageError
from harness.redact import redact

if TYPE_CHECKING:
    from harness.access import Access
    from harness.context import LabContext
    from harness.environment import Environment
    from harness.runner import Runner
    from harness.steps import Lab, Step

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Hands-on labs about Kubernetes secrets with HashiCorp Vault.\n\n"
    "`lab run` brings everything up and tells the labs; `lab test` proves that they work.",
)
messages = Console(stderr=True, highlight=False)

INTERRUPTED = 130

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
Output = Annotated[str, typer.Option("-o", "--output", help="table or json.")]


@app.command()
def up(
    env: EnvName = "lab",
    supply: SupplyName = "auto",
    vault: FlavourName = None,
    vault_port: Annotated[
        int | None, typer.Option(help="Port of Vault on 127.0.0.1; a free one by default.")
    ] = None,
) -> None:
    """Bring the environment up, or repair it."""
    _up(env, supply, vault, vault_port)


@app.command()
def run(
    lab: Annotated[str, typer.Argument(help="A lab's number; all labs without it.")] = "",
    env: EnvName = "lab",
    supply: SupplyName = "auto",
    vault: FlavourName = None,
    first: Annotated[int, typer.Option("--from", help="First step.")] = 1,
    last: Annotated[int | None, typer.Option("--to", help="Last step.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over, do not go on.")] = False,
    present: Annotated[
        bool, typer.Option("--present", help="For a stage: wait for a key before each step.")
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(min=0, help="With --present: type so many characters a second (0: at once)."),
    ] = None,
) -> None:
    """Bring everything up and tell the labs, step by step: explained, run, checked."""
    from harness import registry
    from harness.keys import need_terminal
    from harness.present import Ended, Presentation
    from harness.tour import Tour

    labs = [registry.find_lab(lab)] if lab else list(registry.all_labs())
    if lab:
        labs[0].find(first)
        labs[0].find(last or first)
    console = Console(highlight=False)
    tour = Tour(console)
    if present:
        need_terminal(sys.stdin, sys.stdout)
        tour = Presentation(console, speed=speed or 0)
    elif speed is not None:
        raise UsageError("--speed is how fast --present types", hint="add --present")
    with suppress(Ended):
        for one in labs:
            # What only a later lab needs is not built before the first one starts.
            tour.access = _up(env, supply, vault, needs=one.needs)
            tour.run(one, first, last, fresh)
    tour.summary()


@app.command("test")
def prove(
    quick: Annotated[
        bool, typer.Option("--quick", help="Only what needs no engine: lint, types, unit tests.")
    ] = False,
    supply: SupplyName = "auto",
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Passed on to pytest (after --).")
    ] = None,
) -> None:
    """Prove that everything works: lint, types, unit tests, every lab, every notebook."""
    from harness import testing

    raise typer.Exit(testing.run(quick, supply, arguments or []))


@app.command()
def check(
    what: Annotated[str, typer.Argument(help="A lab (01) or a step (01.3).")], env: EnvName = "lab"
) -> None:
    """Check a lab or a step as it stands; says what is not yet true."""
    from harness import registry
    from harness.runner import Runner

    lab, steps = registry.find_steps(what)
    runner = Runner(_context(env, lab))
    failed = 0
    for step in steps:
        messages.print(f"Step {step.id}  {step.title}", style="bold", markup=False)
        try:
            runner.check(step, _show_fact)
        except CheckFailed as error:
            failed += 1
            messages.print(f"  ✗ {error}", style="red", markup=False)
    if failed:
        raise CheckFailed(
            f"{failed} of {len(steps)} steps not passed",
            hint=f"./lab solve {what} does it for you",
        )
    messages.print(f"{len(steps)} of {len(steps)} steps passed", style="green")


@app.command()
def solve(
    what: Annotated[str, typer.Argument(help="A lab (01), or up to and with a step (01.3).")],
    env: EnvName = "lab",
) -> None:
    """Do a step and all before it that are not done yet, or a whole lab."""
    from harness import registry
    from harness.runner import DONE, Runner

    lab, steps = registry.find_steps(what)
    runner = Runner(_context(env, lab))
    for step in lab.steps[: steps[-1].number]:
        if runner.progress.state(step) in DONE and step is not steps[-1]:
            continue
        messages.print(f"Step {step.id}  {step.title}", style="bold", markup=False)
        if runner.begun(step):
            runner.undo(step)
        runner.solve(step, _show_fact)


@app.command()
def skip(what: Annotated[str, typer.Argument(help="A step (01.3).")], env: EnvName = "lab") -> None:
    """Go on without a step; `lab solve` can still do it later."""
    runner, step = _one_step(what, env)
    if not runner.skip(step):
        messages.print(f"Step {step.id} is done already", markup=False)
        return
    following = runner.next_step()
    then = f"; next: {following.id} {following.title}" if following else ""
    messages.print(f"Step {step.id} is skipped{then}", markup=False)


@app.command()
def hint(what: Annotated[str, typer.Argument(help="A step (01.3).")], env: EnvName = "lab") -> None:
    """Say what is not yet true of a step and why, then one hint more than last time."""
    from harness.hints import next_hint

    runner, step = _one_step(what, env)
    for line in next_hint(runner, step, f"./lab solve {step.id}"):
        sys.stdout.write(f"{line}\n")


@app.command()
def watch(
    what: Annotated[
        str, typer.Argument(help="A lab (01) or a step (01.3); the first lab not done without it.")
    ] = "",
    env: EnvName = "lab",
) -> None:
    """Check the current step as things change, and move on when it passes."""
    from harness import registry
    from harness.report import first_open
    from harness.runner import Runner
    from harness.watch import Watch

    what = what or first_open(_environment(env))
    lab, steps = registry.find_steps(what)
    passed = Watch(Runner(_context(env, lab)), Console(highlight=False)).run(steps)
    messages.print(f"{what}: nothing left to watch, {len(passed)} steps passed", style="green")


@app.command()
def reset(
    what: Annotated[str, typer.Argument(help="A lab (01), or a step (01.3): back to before it.")],
    env: EnvName = "lab",
) -> None:
    """Return to the state before a step, or remove everything of a lab."""
    from harness import registry
    from harness.runner import Runner

    lab, steps = registry.find_steps(what)
    runner = Runner(_context(env, lab))
    done = runner.undo(steps[0]) if "." in what else runner.reset()
    for line in done:
        messages.print(f"  {line}", style="dim", markup=False)
    messages.print(f"{what} is as it was before", style="green", markup=False)


@app.command()
def status(env: EnvName = "lab", output: Output = "table") -> None:
    """Show what runs, where each part comes from and how far the labs are."""
    from harness import report

    found = report.status(_environment(env))
    _print(found, output, report.tables)


@app.command("env")
def env_(
    env: EnvName = "lab",
    token: Annotated[
        bool, typer.Option("--token", help="Also VAULT_TOKEN, the root token (a secret).")
    ] = False,
) -> None:
    """Print `export` lines for a shell: eval "$(./lab env)"."""
    import shlex

    access = _environment(env).access()
    variables = {**access.shell_variables(), "PATH": f"{access.programs}:$PATH"}
    if token:
        variables["VAULT_TOKEN"] = access.vault_token
    for name, value in variables.items():
        shown = f'"{value}"' if name == "PATH" else shlex.quote(value)
        sys.stdout.write(f"export {name}={shown}\n")


@app.command()
def shell(env: EnvName = "lab") -> None:
    """Open a shell with kubectl, vault and their variables set; `exit` ends it."""
    access = _environment(env).running()
    program = os.environ.get("SHELL") or "/bin/sh"
    variables = {
        **os.environ,
        **access.shell_variables(),
        "VAULT_TOKEN": str(access.vault_token),
        "PATH": f"{access.programs}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    messages.print(f"kubectl and vault speak to environment {env}; `exit` leaves", style="dim")
    os.execvpe(program, [program], variables)  # noqa: S606 # a person's own shell, no arguments


@app.command()
def learn(
    lab: Annotated[str, typer.Argument(help="The lab to open.")] = "",
    exercise: Annotated[
        bool, typer.Option("--exercise", help="Empty steps: you write them, checks tell.")
    ] = False,
    env: EnvName = "lab",
    supply: SupplyName = "auto",
    port: Annotated[int, typer.Option(help="Port of JupyterLab on 127.0.0.1.")] = 8888,
    browser: Annotated[bool, typer.Option("--browser", help="Open a browser, too.")] = False,
) -> None:
    """Open the labs as notebooks in JupyterLab."""
    from harness import learn as jupyter
    from harness import registry

    chosen = registry.find_lab(lab) if lab else registry.all_labs()[0]
    access = _up(env, supply, None, needs=chosen.needs)
    jupyter.serve(access, chosen, exercise=exercise, port=port, browser=browser)


@app.command()
def down(
    env: EnvName = "lab",
    everything: Annotated[bool, typer.Option("--all", help="Every environment.")] = False,
    engine: Annotated[
        bool, typer.Option("--engine", help="Also stop the container engine that lab started.")
    ] = False,
) -> None:
    """Remove the environment: containers, network, volumes, state."""
    from harness.environment import Environment, existing
    from harness.supply import dockerd
    from harness.supply import engine as engines

    names = existing() if everything else [env]
    if engines.find():
        for name in names:
            for line in Environment(name).down():
                messages.print(f"removed {line}", style="dim", markup=False)
            messages.print(f"environment {name} is gone", markup=False)
    if engine:
        stopped = dockerd.stop()
        messages.print("the engine is stopped" if stopped else "no engine of ours was running")


@app.command()
def doctor(output: Output = "table") -> None:
    """Look at this machine: engine, disk, memory, kernel, cache, registries."""
    from harness import doctor as machine

    findings = machine.examine()
    _print(machine.to_data(findings), output, machine.tables)
    if any(finding.level == "bad" for finding in findings):
        raise typer.Exit(3)


@app.command()
def version() -> None:
    """Print the version of this project and of every pinned part."""
    from importlib import metadata

    from harness.report import project_version
    from harness.supply.base import all_parts

    sys.stdout.write(f"kube-vault-labs {project_version()}\n")
    sys.stdout.write(f"pytest-kind {metadata.version('pytest-kind')}\n")
    for part in all_parts().values():
        sys.stdout.write(f"{part.name} {part.version} ({part.licence})\n")


# -- shared by the commands ---------------------------------------------------------------


def _environment(name: str) -> Environment:
    from harness.environment import Environment

    return Environment(name)


def _up(
    name: str,
    supply: str,
    flavour: str | None,
    port: int | None = None,
    needs: tuple[str, ...] = (),
) -> Access:
    from harness.environment import Options
    from harness.progress import reporting

    with reporting() as progress:
        return _environment(name).up(Options(supply, flavour, port, needs), progress)


def _context(name: str, lab: Lab) -> LabContext:
    """The lab's context; what the lab needs is installed first if it is missing."""
    from harness.context import LabContext

    environment = _environment(name)
    access = environment.running()
    if not set(lab.needs) <= set(environment.record["needs"]):
        access = _up(name, environment.record["supply"], None, needs=lab.needs)
    return LabContext(access, lab)


def _one_step(what: str, env: str) -> tuple[Runner, Step]:
    from harness import registry
    from harness.runner import Runner

    lab, steps = registry.find_steps(what)
    if len(steps) > 1:
        raise UsageError(f"{what} is a whole lab", hint=f"name one of its steps: {lab.number}.1")
    return Runner(_context(env, lab)), steps[0]


def _show_fact(fact: str) -> None:
    messages.print(f"  ✓ {redact(fact)}", style="green", markup=False)


def _print(data: Any, output: str, tables: Any) -> None:
    if output == "json":
        import json

        sys.stdout.write(redact(json.dumps(data, indent=2)) + "\n")
    elif output == "table":
        console = Console(highlight=False)
        for table in tables(data):
            console.print(table)
    else:
        raise UsageError(f"there is no output format {output!r}", hint="-o table or -o json")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    # Ended by another program is ended by a person: builds and kind must not be left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
        # wrong option is reported; they are told apart by what they can do.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return UsageError.exit_code


if __name__ == "__main__":
    sys.exit(main())
