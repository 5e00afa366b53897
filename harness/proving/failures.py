"""What failed, out of the JUnit files that pytest has written, short enough to be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from harness.base.redact import redact

# The end of a traceback holds the assertion and its place.
LINES = 25
TESTS = 12


def told(reports: Path) -> Iterator[str]:
    """For each failed test of the JUnit files in `reports`, its name and its last lines.

    At most 12 tests of a file, at most 25 lines of each, without what `redact` knows. A file
    that cannot be read (its stage was killed) is named.
    """
    for file in sorted(reports.glob("*.xml")):
        try:
            tree = ElementTree.parse(file)  # noqa: S314 -- pytest of this very run wrote it
            cases = list(tree.iter("testcase"))
        except ElementTree.ParseError as error:
            yield f"{file.name}: not to be read ({error})"
            continue
        failed = [(case, problem) for case in cases for problem in _problems(case)]
        for case, problem in failed[:TESTS]:
            yield f"── {file.stem}: {case.get('classname')}::{case.get('name')}"
            text = problem.text or problem.get("message") or ""
            yield from redact(text).strip().splitlines()[-LINES:]
        if len(failed) > TESTS:
            yield f"── {file.stem}: {len(failed) - TESTS} more"


def _problems(case: ElementTree.Element) -> list[ElementTree.Element]:
    return [problem for kind in ("failure", "error") for problem in case.iter(kind)]
