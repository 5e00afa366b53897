"""What `lab test` makes of a stage's exit status."""

from __future__ import annotations

import pytest

from harness import process, testing


@pytest.mark.parametrize(
    ("status", "chosen", "passed", "note"),
    [
        (0, (), True, ""),
        (1, (), False, "status 1"),
        (5, (), False, "status 5"),
        (5, ("-k", "05"), True, "none chosen"),
        (1, ("-k", "05"), False, "status 1"),
    ],
)
def test_a_stage_without_tests_is_fine_only_when_some_were_chosen(
    status: int,
    chosen: tuple[str, ...],
    passed: bool,
    note: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(command: list[str], **_: object) -> None:
        if status:
            raise process.CommandFailed(" ".join(command), status=status, output="")

    monkeypatch.setattr(process, "run", run)
    result = testing._stage("stage", ["pytest"], chosen)
    assert (result.passed, result.note) == (passed, note)
