"""`lab doctor` and the programs that a learner types: bash, curl, jq."""

from __future__ import annotations

import shutil

import pytest

from harness.cli import doctor


def test_a_program_that_is_not_there_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "jq" else f"/bin/{name}")
    (found,) = doctor._programs()
    assert (found.level, found.seen) == ("bad", "not there: jq")
    assert "apt-get install jq" in found.help


def test_all_of_them_are_good_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    (found,) = doctor._programs()
    assert (found.level, found.seen) == ("good", "bash, curl, jq")
