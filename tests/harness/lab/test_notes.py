"""Notes and progress survive restarts, never hold secrets, and break readably."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import UsageError
from harness.base.redact import register
from harness.base.statefile import read_json, write_json
from harness.lab.notes import Notes


def test_notes_survive(tmp_path: Path) -> None:
    Notes(tmp_path / "notes.json")["uid"] = "1234"
    assert Notes(tmp_path / "notes.json")["uid"] == "1234"


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    write_json(tmp_path / "notes.json", {})
    assert (tmp_path / "notes.json").stat().st_mode & 0o777 == 0o600


def test_a_secret_is_refused(tmp_path: Path) -> None:
    register("the-password-itself")
    notes = Notes(tmp_path / "notes.json")
    with pytest.raises(ValueError, match="would write a secret"):
        notes["seen"] = {"value": "the-password-itself"}
    assert "seen" not in notes


def test_a_missing_note_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="an earlier step should have left a note 'uid'"):
        Notes(tmp_path / "notes.json")["uid"]


@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_a_broken_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "progress.json"
    file.write_text(content)
    with pytest.raises(UsageError) as caught:
        read_json(file)
    assert str(file) in str(caught.value)
