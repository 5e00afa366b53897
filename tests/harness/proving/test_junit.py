"""What `lab test` says at its end: the tests that failed, and those that took long."""

from __future__ import annotations

from pathlib import Path

from harness.base.redact import register
from harness.proving import junit as told


def junit(folder: Path, name: str, *cases: str) -> None:
    body = "".join(cases)
    (folder / f"{name}.xml").write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>")


def case(name: str, inside: str = "") -> str:
    return f'<testcase classname="tests.live" name="{name}">{inside}</testcase>'


def test_the_end_of_each_failure_is_told(tmp_path: Path) -> None:
    long = "\n".join(f"line {number}" for number in range(100))
    junit(tmp_path, "live", case("good"), case("bad", f"<failure>{long}</failure>"))
    junit(
        tmp_path,
        "unit",
        case("broken", '<error message="no fixture"/>'),
        case("left", "<skipped/>"),
    )
    first, *lines = told.failures(tmp_path)
    assert first == "── live: tests.live::bad"
    assert lines[: told.LINES] == [f"line {number}" for number in range(75, 100)]
    assert lines[told.LINES :] == ["── unit: tests.live::broken", "no fixture"]


def test_many_are_counted_and_a_broken_file_is_named(tmp_path: Path) -> None:
    junit(tmp_path, "live", *(case(str(n), "<failure>why</failure>") for n in range(15)))
    (tmp_path / "killed.xml").write_text("<testsuites>")
    broken, *lines = told.failures(tmp_path)
    assert broken.startswith("killed.xml: not to be read")
    assert lines[-1] == "── live: 3 more"


def test_no_secret_is_told(tmp_path: Path) -> None:
    register("correct-horse-battery")
    junit(tmp_path, "live", case("bad", "<failure>got correct-horse-battery</failure>"))
    assert "correct-horse" not in "\n".join(told.failures(tmp_path))


def test_the_longest_come_first(tmp_path: Path) -> None:
    times = "".join(
        f'<testcase classname="tests.live" name="{n}" time="{n}.5"/>' for n in range(20)
    )
    junit(tmp_path, "live", times)
    (tmp_path / "killed.xml").write_text("<testsuites>")
    found = told.slowest(tmp_path)
    assert found[0] == ("live", "tests.live::19", 19.5)
    assert len(found) == told.SLOWEST
