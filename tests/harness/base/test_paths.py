"""Where state lies: in the checkout, and for the installed package in the project that uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base import paths
from harness.base.errors import UsageError


def test_a_checkout_keeps_its_state_wherever_it_is_called_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_STATE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert paths.state_root() == paths.CHECKOUT / ".lab"


def test_the_package_uses_the_project_around_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_STATE", raising=False)
    monkeypatch.setattr(paths, "INSTALLED", True)
    below = tmp_path / "notebooks"
    below.mkdir()
    monkeypatch.chdir(below)
    assert paths.state_root() == below / ".lab"
    (tmp_path / ".lab").mkdir()
    assert paths.state_root() == tmp_path / ".lab"
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "elsewhere"))
    assert paths.state_root() == tmp_path / "elsewhere"


def test_the_state_folder_is_kept_out_of_a_repository(tmp_path: Path) -> None:
    paths.keep_out_of_git(tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "*\n"
    (tmp_path / ".gitignore").write_text("mine\n")
    paths.keep_out_of_git(tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_a_hint_names_the_command_as_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert UsageError("wrong", hint="./lab up").hint == "./lab up"
    monkeypatch.setattr("harness.base.errors.INSTALLED", True)
    assert UsageError("wrong", hint="./lab up, then ./lab run").hint == "lab up, then lab run"
