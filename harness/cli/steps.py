"""The commands about labs and steps: run, check, solve, skip, hint, watch, reset, learn.

Imports are inside the commands, so that `lab --help` answers at once.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.base.errors import CheckFailed, EnvironmentLacks, LabError, UsageError
from harness.cli.common import (
    EnvName,
    FlavourName,
    KubernetesRelease,
    Output,
    SupplyName,
    app,
    bring_up,
    context,
    environment,
    messages,
    one_step,
    show,
    show_fact,
)

if TYPE_CHECKING:
    from harness.lab.steps import Step


@app.command()
def run(
    lab: Annotated[
        str, typer.Argument(help="A lab (01), a step (01.3) or all; lab 05 without.")
    ] = "",
    env: EnvName = "lab",
    supply: SupplyName = "auto",
    vault: FlavourName = None,
    kubernetes: KubernetesRelease = None,
    first: Annotated[int | None, typer.Option("--from", help="First step.")] = None,
    last: Annotated[int | None, typer.Option("--to", help="Last step.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Undo what is done, then start over.")
    ] = False,
    present: Annotated[
        bool, typer.Option("--present", help="For a stage: wait for a key before each step.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Steps that measure: five pods each, nothing hurried.")
    ] = False,
    scale: Annotated[
        bool, typer.Option("--scale", help="Lab 05: 500 secrets, 100 pods (half an hour).")
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(min=0, help="With --present: type so many characters a second (0: at once)."),
    ] = None,
) -> None:
    """Bring everything up and go through a lab, or all: each step explained, run, checked."""
    from harness.cli.keypress import need_terminal
    from harness.cli.present import Ended, Presentation
    from harness.cli.selection import find_range
    from harness.cli.tour import Tour
    from harness.environment.prefetch import fetching

    chosen = find_range(lab, first, last)
    console = Console(highlight=False)
    tour = Tour(console)
    if present:
        need_terminal(sys.stdin, sys.stdout)
        tour = Presentation(console, speed=speed or 0)
    elif speed is not None:
        raise UsageError("--speed is how fast --present types", hint="add --present")
    tour.full, tour.scale = full, scale
    # Who names no lab sees the way through; who asks for more gets all.
    tour.further = bool(lab) or full or scale
    with suppress(Ended), ExitStack() as beside:
        for at, (one, begin, end) in enumerate(chosen):
            # What only a later lab needs is not built before the first one starts.
            tour.access = bring_up(env, supply, vault, needs=one.needs, kubernetes=kubernetes)
            if at == 0:
                log, later = tour.access.state / "fetch.log", [lab for lab, *_ in chosen[1:]]
                record = environment(env).record
                assert record is not None
                of_cluster = (record.flavour, record.kubernetes)
                beside.enter_context(fetching(later, supply, *of_cluster, log))
            tour.run(one, begin, end, fresh)
    tour.summary()


@app.command()
def check(
    what: Annotated[str, typer.Argument(help="A lab (01) or a step (01.3).")], env: EnvName = "lab"
) -> None:
    """Check a lab or a step as it stands; says what is not yet true."""
    from harness.lab.catalog import find_steps
    from harness.session.runner import Runner

    lab, steps = find_steps(what)
    runner = Runner(context(env, lab))
    failed: list[LabError] = []
    for step in steps:
        _heading(step)
        try:
            runner.check(step, show_fact)
        except LabError as error:
            failed.append(error)
            messages.print(f"  ✗ {error}", style="red", markup=False)
    if failed:
        summary = CheckFailed(
            f"{len(failed)} of {len(steps)} steps not passed",
            hint=f"./lab solve {what} does it for you",
        )
        # When the environment lacks something, no step can be solved.
        if all(isinstance(error, EnvironmentLacks) for error in failed):
            summary.exit_code, summary.hint = EnvironmentLacks.exit_code, failed[0].hint
        raise summary
    messages.print(f"{len(steps)} of {len(steps)} steps passed", style="green")


@app.command()
def solve(
    what: Annotated[str, typer.Argument(help="A lab (01), or up to and with a step (01.3).")],
    env: EnvName = "lab",
) -> None:
    """Do a step and all before it that are not done yet, or a whole lab."""
    from harness.lab.catalog import find_steps
    from harness.session.runner import Runner

    lab, steps = find_steps(what)
    one = len(steps) == 1
    Runner(context(env, lab)).solve_through(
        steps[-1], again=one, on_begin=_heading, on_fact=show_fact
    )
    messages.print(f"{what} is done", style="green", markup=False)


def _heading(step: Step) -> None:
    messages.print(f"Step {step.id}  {step.title}", style="bold", markup=False)


@app.command()
def skip(what: Annotated[str, typer.Argument(help="A step (01.3).")], env: EnvName = "lab") -> None:
    """Go on without a step; `lab solve` can still do it later."""
    runner, step = one_step(what, env)
    if not runner.skip(step):
        messages.print(f"Step {step.id} is done already", markup=False)
        return
    following = runner.next_step()
    then = f"; next: {following.id} {following.title}" if following else ""
    messages.print(f"Step {step.id} is skipped{then}", markup=False)


@app.command()
def hint(what: Annotated[str, typer.Argument(help="A step (01.3).")], env: EnvName = "lab") -> None:
    """Say what is not yet true of a step and why, then one hint more than last time."""
    from harness.session.hints import next_hint

    runner, step = one_step(what, env)
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
    from harness.cli.status import first_open
    from harness.cli.watch import Watch
    from harness.lab.catalog import find_steps
    from harness.session.runner import Runner

    what = what or first_open(environment(env))
    lab, steps = find_steps(what)
    passed = Watch(Runner(context(env, lab)), Console(highlight=False)).run(steps)
    messages.print(f"{what}: nothing left to watch, {len(passed)} steps passed", style="green")


@app.command()
def reset(
    what: Annotated[str, typer.Argument(help="A lab (01), or a step (01.3): back to before it.")],
    env: EnvName = "lab",
) -> None:
    """Return to the state before a step, or remove everything of a lab."""
    from harness.lab.catalog import find_steps
    from harness.session.runner import Runner

    lab, steps = find_steps(what)
    runner = Runner(context(env, lab))
    done = runner.undo(steps[0]) if "." in what else runner.reset()
    for line in done:
        messages.print(f"  {line}", style="dim", markup=False)
    messages.print(f"{what} is as it was before", style="green", markup=False)


@app.command()
def report(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to write the page.")
    ] = None,
    html: Annotated[
        bool,
        typer.Option("--html", help="Write one HTML file (reports/report-ENV.html)."),
    ] = False,
    env: EnvName = "lab",
    output: Output = "table",
) -> None:
    """Show what was done: each step, when, how long; with --html as a page to keep or hand in."""
    from harness.base.paths import work_folder
    from harness.cli import report as reporting

    data = reporting.gather(environment(env))
    if not html:
        if file:
            raise UsageError("FILE is where a page is written", hint=f"./lab report --html {file}")
        show(data, output, reporting.tables)
        return
    target = file or work_folder() / "reports" / f"report-{env}.html"
    reporting.write(data, target)
    sys.stdout.write(f"{target}\n")


@app.command()
def learn(
    lab: Annotated[str, typer.Argument(help="The lab to open.")] = "",
    exercise: Annotated[
        bool,
        typer.Option("--exercise", help="Steps with gaps that you fill in."),
    ] = False,
    env: EnvName = "lab",
    supply: SupplyName = "auto",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of JupyterLab on 127.0.0.1.")
    ] = 8888,
    browser: Annotated[bool, typer.Option("--browser", help="Open a browser, too.")] = False,
) -> None:
    """Open the labs as notebooks in JupyterLab."""
    from harness.lab import catalog
    from harness.notebook import jupyter

    chosen = catalog.find_lab(lab) if lab else catalog.all_labs()[0]
    access = bring_up(env, supply, None, needs=chosen.needs)
    jupyter.serve(access, chosen, exercise=exercise, port=port, browser=browser)
