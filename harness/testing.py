"""`lab test`: everything that must hold, in stages, with one table at the end.

The quick stages (lint, types, unit tests) need no engine. The live stages use environments
of their own names, never a learner's. On Vault each step of each lab is proved, undoing
included, and everything else that needs an environment is tried. On OpenBao the notebooks
do and check each step, and what depends on the flavour is tried again. JUnit files and,
after a failure, a redacted picture of the environment are left in reports/.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from harness import diagnostics, process
from harness.environment import Environment, Options
from harness.errors import LabError
from harness.paths import CHECKOUT
from harness.progress import reporting

REPORTS = CHECKOUT / "reports"
FLAVOURS = {"vault": "test", "openbao": "test-bao"}
STAGE_SECONDS = 3600.0
# The engine, the registry, JupyterLab: those do not know which Vault there is. And both
# readings of a lab run the same lines: each flavour gets one of them.
WHERE = {
    "vault": ("tests/live", "labs"),
    "openbao": ("tests/live/test_environment.py", "tests/live/test_reset.py"),
}
NOTEBOOKS_ON = "openbao"

_messages = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Result:
    """How a stage ended."""

    stage: str
    passed: bool
    seconds: float
    note: str = ""


def run(quick: bool, supply: str, arguments: Sequence[str]) -> int:
    """Run the stages; return 0 when all passed, 1 otherwise."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir()
    unit = _pytest("unit", "-q", "tests", "-m", "not live", "-n", "auto", *arguments)
    results = [
        _stage("lint", _python("-m", "ruff", "check", ".")),
        _stage("format", _python("-m", "ruff", "format", "--check", ".")),
        _stage("types", _python("-m", "mypy")),
        _stage("unit tests", unit, arguments),
    ]
    if not quick:
        for flavour, name in FLAVOURS.items():
            results += _live(flavour, name, supply, arguments)
    _print(results)
    return 0 if all(result.passed for result in results) else 1


def _live(flavour: str, name: str, supply: str, arguments: Sequence[str]) -> list[Result]:
    """The stages of one flavour, in one environment that is removed afterwards."""
    environment = Environment(name)
    started = time.monotonic()
    results: list[Result] = []
    try:
        with reporting() as progress:
            environment.up(Options(supply=supply, flavour=flavour), progress)
        results.append(Result(f"up ({flavour})", True, time.monotonic() - started))
        common = ("--lab-env", name, "--lab-vault", flavour, "--lab-supply", supply, "--lab-keep")
        # A line a test: some take a minute, and a row of dots would come all at once.
        live = _pytest(f"live-{flavour}", "-v", *WHERE[flavour], "-m", "live", *common, *arguments)
        results.append(_stage(f"live tests ({flavour})", live, arguments))
        if flavour == NOTEBOOKS_ON:
            files = [str(file) for file in sorted((CHECKOUT / "notebooks").glob("*.ipynb"))]
            nbval = ("--nbval-lax", "--nbval-current-env")
            notebooks = _pytest("notebooks", "-v", *nbval, *common, *files, *arguments)
            results.append(_stage(f"notebooks ({flavour})", notebooks, arguments))
    except LabError as error:
        _messages.print(str(error), style="red", markup=False)
        results.append(Result(f"up ({flavour})", False, time.monotonic() - started, error.what))
    if not all(result.passed for result in results):
        diagnostics.collect(environment, REPORTS / "diagnostics" / name)
    try:
        environment.down()
    except LabError as error:
        results.append(Result(f"down ({flavour})", False, 0, error.what))
    return results


def _stage(name: str, command: list[str], chosen: Sequence[str] = ()) -> Result:
    """Run one stage. With `chosen` tests it may be that none of them is of this stage."""
    _messages.print(f"── {name}", style="bold", markup=False)
    started = time.monotonic()
    note = ""
    try:
        process.run(command, cwd=CHECKOUT, timeout=STAGE_SECONDS, on_line=_pass_on)
        passed = True
    except process.CommandFailed as error:
        passed, note = False, f"status {error.status}"
        if chosen and error.status == pytest.ExitCode.NO_TESTS_COLLECTED:
            passed, note = True, "none chosen"
    return Result(name, passed, time.monotonic() - started, note)


def _python(*words: str) -> list[str]:
    return [sys.executable, *words]


def _pytest(report: str, *words: str) -> list[str]:
    junit = REPORTS / f"{report}.xml"
    return _python("-m", "pytest", f"--junitxml={junit}", *words)


_pass_on: Callable[[str], None] = print


def _print(results: list[Result]) -> None:
    table = Table("stage", "result", "time", title="lab test", title_justify="left")
    for result in results:
        outcome = "[green]passed[/]" if result.passed else "[red]failed[/]"
        table.add_row(result.stage, f"{outcome} {result.note}", f"{result.seconds:.0f}s")
    _messages.print(table)
    if not all(result.passed for result in results):
        where = Path(REPORTS.name)
        _messages.print(f"reports and diagnostics are in {where}/", style="red")
