"""Labs of a team's own, outside this checkout: made, found, rendered, refused where they clash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.base.errors import UsageError
from harness.base.paths import CHECKOUT
from harness.lab.catalog import OWN, outside
from harness.lab.scaffold import new_lab

HOME = """
from harness.lab.catalog import all_labs, find_lab, home, labs_in, OWN
print(home(find_lab("98")), home(find_lab("01")) == OWN, len(all_labs()) - len(labs_in(OWN)))
"""


def run(*command: str, path: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "LAB_PATH": path},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_lab_outside_is_made_found_and_rendered_where_it_lies(tmp_path: Path) -> None:
    team = tmp_path / "our labs"
    team.mkdir()
    made = run("-m", "harness.cli", "new", "98", "Ours", "--into", str(team))
    assert made.returncode == 0, made.stderr
    assert f"export LAB_PATH='{team}'" in made.stderr
    assert run("-c", HOME, path=str(team)).stdout.split("\n")[0] == f"{team} True 1"
    rendered = run("-m", "harness.cli", "render", path=str(team))
    assert rendered.stdout.splitlines() == [
        str(team / "notebooks" / "98_ours.ipynb"),
        str(team / "notebooks" / "exercises" / "98_ours.ipynb"),
    ]
    assert not (CHECKOUT / "notebooks" / "98_ours.ipynb").exists()


def test_two_labs_with_one_number_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a lab 01 already"):
        new_lab(tmp_path, "01", "Ours", (OWN,))
    folder = new_lab(tmp_path, "01", "Ours")
    refused = run("-m", "harness.cli", "check", "01", path=str(tmp_path))
    assert refused.returncode == 2
    assert "two labs have the number 01" in refused.stderr
    assert folder.name in refused.stderr.replace("\n", "")


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_PATH", f"{tmp_path}{os.pathsep}{tmp_path / 'gone'}")
    with pytest.raises(UsageError, match="not there") as caught:
        outside()
    assert caught.value.where == str(tmp_path / "gone")
    with pytest.raises(UsageError, match="no such folder"):
        new_lab(tmp_path / "gone", "98", "Ours")
