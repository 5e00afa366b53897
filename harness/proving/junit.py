"""What the JUnit files of a run say, short enough to be read: what failed, and what took long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from harness.base.redact import redact

# The end of a traceback holds the assertion and its place.
LINES = 25
TESTS = 12
SLOWEST = 12


def failures(reports: Path) -> Iterator[str]:
    """For each failed test of the JUnit files in `reports`, its name and its last lines.

    At most 12 tests of a file, at most 25 lines of each, without what `redact` knows. A file
    that cannot be read (its stage was killed) is named.
    """
    for file in _files(reports):
        try:
            cases = _cases(file)
        except ElementTree.ParseError as error:
            yield f"{file.name}: not to be read ({error})"
            continue
        failed = [(case, problem) for case in cases for problem in _problems(case)]
        for case, problem in failed[:TESTS]:
            yield f"── {file.stem}: {_name(case)}"
            text = problem.text or problem.get("message") or ""
            yield from redact(text).strip().splitlines()[-LINES:]
        if len(failed) > TESTS:
            yield f"── {file.stem}: {len(failed) - TESTS} more"


def slowest(reports: Path) -> list[tuple[str, str, float]]:
    """Stage, test and seconds of the twelve tests that took longest, set-up included."""
    found = []
    for file in _files(reports):
        try:
            found += [(file.stem, _name(case), _seconds(case)) for case in _cases(file)]
        except ElementTree.ParseError:
            continue
    return sorted(found, key=lambda one: one[2], reverse=True)[:SLOWEST]


def _files(reports: Path) -> list[Path]:
    return sorted(reports.glob("*.xml"))


def _cases(file: Path) -> list[ElementTree.Element]:
    tree = ElementTree.parse(file)  # noqa: S314 -- pytest of this very run wrote it
    return list(tree.iter("testcase"))


def _problems(case: ElementTree.Element) -> list[ElementTree.Element]:
    return [problem for kind in ("failure", "error") for problem in case.iter(kind)]


def _name(case: ElementTree.Element) -> str:
    return f"{case.get('classname')}::{case.get('name')}"


def _seconds(case: ElementTree.Element) -> float:
    return float(case.get("time", "0"))
