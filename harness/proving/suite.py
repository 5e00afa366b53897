"""`lab test`: everything that must hold, in stages, with one table at the end.

The quick stages (lint, types, unit tests) need no engine. Then all parts are got ready, and
the live stages run in environments of their own names, never a learner's. On Vault each step
of each lab is proved, undoing included, and everything else that needs an environment is
tried. On OpenBao the notebooks do and check each step, and what depends on the flavour is
tried again. Most of it is waiting for controllers, so two environments are at work at a time
where there is memory for both. JUnit files and, after a failure, a redacted picture of the
environment are left in reports/.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from harness.base import process, tasks
from harness.base.errors import LabError
from harness.base.paths import CHECKOUT
from harness.environment import diagnostics
from harness.environment.environment import Environment
from harness.proving import junit
from harness.supply.offline.gobuild import available_gib

REPORTS = CHECKOUT / "reports"
STAGE_SECONDS = 4500.0
FUZZ_SECONDS = 300.0
# What two environments with everything installed take, and a browser, and the tests.
GIB_FOR_TWO = 8.0
AT_A_TIME = 2
# Lab 06 restarts the API server of its cluster again and again: it is a shard of its own, so that
# nothing else waits for those restarts. The test of its lost KMS plugin waits four minutes beside.
SLOW_LAB = "06"
SLOW_LAB_TESTS = ("tests/live/test_plugin_lost.py",)
PROOFS, CANARY = "tests/live/test_labs.py", "tests/live/test_canary.py"
# The live tests whose result depends on the flavour of Vault.
BOTH_FLAVOURS = ("environment", "reset", "bystanders")

_messages = Console(stderr=True, highlight=False)
_Say = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """How a stage ended."""

    stage: str
    passed: bool
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Shard:
    """The stages that one environment of the tests goes through: a report's name, pytest's words.

    The environment comes with the first test that needs it, and is removed at the end.
    """

    environment: str
    flavour: str
    stages: tuple[tuple[str, tuple[str, ...]], ...]


def shards() -> list[Shard]:
    """All that is tried live, in the order of beginning: two at a time, the longest first."""
    from harness.lab.catalog import all_labs

    others = [lab.number for lab in all_labs() if lab.number != SLOW_LAB]
    only = [word for number in others for word in ("--lab-only", number)]
    notebooks = [str(file) for file in sorted((CHECKOUT / "notebooks").glob("*.ipynb"))]
    live = ("-m", "live")
    # What looks at everything that was shown must see both: the labs, and all the rest.
    proofs = (PROOFS, CANARY, "labs", *live, *only)
    elsewhere = (f"--ignore={file}" for file in (PROOFS, *SLOW_LAB_TESTS))
    rest = ("tests/live", *live, *elsewhere)
    slow = (PROOFS, *SLOW_LAB_TESTS, *live, "--lab-only", SLOW_LAB)
    return [
        Shard("test", "vault", (("live-vault", rest),)),
        # The engine, the registry, JupyterLab: those do not know which Vault there is. And both
        # readings of a lab run the same lines: each flavour gets one of them.
        Shard(
            "test-bao",
            "openbao",
            (
                (
                    "live-openbao",
                    (*(f"tests/live/test_{name}.py" for name in BOTH_FLAVOURS), *live),
                ),
                ("notebooks-openbao", ("--nbval-lax", "--nbval-current-env", *notebooks)),
            ),
        ),
        Shard("test-labs", "vault", (("labs-vault", proofs),)),
        Shard(f"test-{SLOW_LAB}", "vault", ((f"labs-vault-{SLOW_LAB}", slow),)),
    ]


def laptop(arguments: Sequence[str]) -> int:
    """Run the one stage that is a laptop with a current Docker; 0 when it passed, else 1."""
    # -s: it takes minutes, and shows what its person sees.
    return _alone("laptop", ("-s", "tests/laptop"), arguments)


def faults(supply: str, arguments: Sequence[str]) -> int:
    """Run the one stage that is the whole fault matrix; 0 when it passed, else 1."""
    where = ("--lab-env", "faults", "--lab-supply", supply, "--lab-vault", "vault")
    return _alone("faults", ("tests/live/test_faults.py", "--lab-faults", *where), arguments)


def fuzz(arguments: Sequence[str]) -> int:
    """Run the one stage that is random input for the stand-ins; 0 when it passed, else 1."""
    words = ("tests/standins", "-n", "auto")
    return _alone("fuzz", words, arguments, marker="fuzz", seconds=FUZZ_SECONDS)


def _alone(
    name: str,
    words: Sequence[str],
    arguments: Sequence[str],
    marker: str = "live",
    seconds: float = 0,
) -> int:
    """Run one stage of marked tests and no other; 0 when it passed, else 1.

    `seconds` is for how long each kind of random input is tried.
    """
    _begin_reports()
    started = time.monotonic()
    command = _pytest(name, "-v", *words, "-m", marker, *arguments)
    if seconds:
        command = ["env", f"FUZZ_SECONDS={seconds:g}", *command]
    result = _stage(name, command, chosen=arguments)
    _print([result], time.monotonic() - started)
    return 0 if result.passed else 1


def run(quick: bool, supply: str, kubernetes: str | None, arguments: Sequence[str]) -> int:
    """Run the stages; return 0 when all passed, 1 otherwise. `kubernetes` is a release."""
    _begin_reports()
    started = time.monotonic()
    unit = _pytest("unit", "-q", "tests", "-m", "not live", "-n", "auto", *arguments)
    results = [
        _stage("lint", _python("-m", "ruff", "check", ".")),
        _stage("format", _python("-m", "ruff", "format", "--check", ".")),
        _stage("types", _python("-m", "mypy")),
        # The contracts of pyproject.toml: which package may import which.
        _stage("imports", [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"]),
        _stage("unit tests", unit, chosen=arguments),
    ]
    if not quick:
        todo = shards()
        flavours = dict.fromkeys(one.flavour for one in todo)
        names = [word for flavour in flavours for word in ("--vault", flavour)]
        names += ["--kubernetes", kubernetes] if kubernetes else []
        fetch = _python("-m", "harness.cli", "fetch", "--supply", supply, *names)
        results.append(_stage("parts", fetch))
        if results[-1].passed:
            common = ["--lab-supply", supply]
            common += ["--lab-kubernetes", kubernetes] if kubernetes else []
            results += _live(todo, common, arguments)
    _print(results, time.monotonic() - started)
    return 0 if all(result.passed for result in results) else 1


def _begin_reports() -> None:
    """An empty folder: what an earlier run left would be taken for this one's."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir()


def _live(todo: Sequence[Shard], options: Sequence[str], arguments: Sequence[str]) -> list[Result]:
    """The results of all rounds, in their order; Ctrl-C ends what runs and leaves it there."""
    work = {one.environment: partial(_shard, one, options, arguments) for one in todo}
    room = available_gib() >= GIB_FOR_TWO
    results = tasks.side_by_side(work, AT_A_TIME if room else 1)
    return [result for stages in results.values() for result in stages]


def _shard(one: Shard, options: Sequence[str], arguments: Sequence[str]) -> list[Result]:
    """The stages of one environment, which is removed afterwards; not after Ctrl-C."""
    environment = Environment(one.environment)
    common = (
        *("--lab-env", one.environment, "--lab-vault", one.flavour),
        *(*options, "--lab-keep"),
    )

    def say(line: str) -> None:
        _say(f"{one.environment}: {line}")

    results = []
    for name, words in one.stages:
        # A line a test: some take a minute, and a row of dots would come all at once.
        command = _pytest(name, "-v", *words, *common, *arguments)
        results.append(_stage(name, command, say, arguments))
    try:
        if environment.record and not all(result.passed for result in results):
            diagnostics.collect(environment, REPORTS / "diagnostics" / one.environment)
        environment.down()
    except LabError as error:
        results.append(Result(f"down ({one.environment})", False, 0, error.what))
    return results


def _say(line: str) -> None:
    # In one piece: two shards write at a time.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _stage(name: str, command: list[str], say: _Say = _say, chosen: Sequence[str] = ()) -> Result:
    """Run one stage. With `chosen` tests it may be that none of them is of this stage."""
    say(f"── {name}")
    started = time.monotonic()
    note = ""
    try:
        process.run(command, cwd=CHECKOUT, timeout=STAGE_SECONDS, on_line=say)
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


def _print(results: list[Result], seconds: float) -> None:
    table = Table("stage", "result", "time", title="lab test", title_justify="left")
    for result in results:
        outcome = "[green]passed[/]" if result.passed else "[red]failed[/]"
        table.add_row(result.stage, f"{outcome} {result.note}", f"{result.seconds:.0f}s")
    table.add_section()
    table.add_row("in all", "", f"{seconds:.0f}s")
    _messages.print(table)
    slow = Table("stage", "slowest tests", "time", title_justify="left")
    for stage, test, took in junit.slowest(REPORTS):
        slow.add_row(stage, test, f"{took:.0f}s")
    if slow.row_count:
        _messages.print(slow)
    if not all(result.passed for result in results):
        # Once more, at the end: of a long log, the end is what a person or a CI page shows.
        for line in junit.failures(REPORTS):
            _messages.print(line, markup=False)
        where = Path(REPORTS.name)
        _messages.print(f"reports and diagnostics are in {where}/", style="red")
