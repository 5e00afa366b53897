"""The package as a team installs it: a wheel, a project of its own, labs proved from there.

The wheel is built and installed in a fresh virtual environment, which sees the third-party
packages of this one. The project (example_project) has tests of its own and gets a lab of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from harness.base.paths import CHECKOUT
from harness.supply.pins import here

EXAMPLE = Path(__file__).with_name("example_project")
SECONDS = 120.0
# Plugins that take seconds to import and have nothing to do here.
QUICK = ("-p", "no:nbval", "-p", "no:hypothesispytest", "-p", "no:xdist")


def run(*command: str | Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program as a person would in `folder`, with no variable of the labs set."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LAB_", "PYTEST_", "PYTHON"))
    }
    return subprocess.run(
        command, cwd=folder, env=own | variables, capture_output=True, text=True, timeout=SECONDS
    )


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a virtual environment that the built wheel is installed in."""
    folder = tmp_path_factory.mktemp("installed")
    built = run(
        *(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder), folder=CHECKOUT
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    programs = folder / "venv" / "bin"
    uv = Path(sys.executable).with_name("uv")
    put = run(
        *(uv, "pip", "install", "--offline", "--no-deps", "--no-index"),
        *("--python", programs / "python", wheel),
        folder=folder,
    )
    assert put.returncode == 0, put.stderr
    (packages,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    # A line that is a path: the checkout's own .pth file in there is not read again.
    (packages / "third_party.pth").write_text(sysconfig.get_path("purelib"))
    return programs


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example project."""
    return shutil.copytree(EXAMPLE, tmp_path / "project")


def test_an_empty_project_collects_the_proof_of_a_lab(installed: Path, tmp_path: Path) -> None:
    words = ("--lab-only", "1", "--co", "-q", *QUICK)
    ended = run(installed / "python", "-m", "pytest", *words, folder=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("labs::test_step[01.1-say_hello]")
    assert "01.1-say_hello-undone" in ended.stdout
    assert "02." not in ended.stdout


def test_a_project_with_tests_and_labs_of_its_own(installed: Path, project: Path) -> None:
    python = installed / "python"
    ended = run(python, "-m", "pytest", "-q", "-m", "not live", *QUICK, folder=project)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed, 1 deselected" in ended.stdout
    (project / "team_labs").mkdir()
    made = run(installed / "lab", "new", "71", "Ours", "--into", "team_labs", folder=project)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("team_labs/lab71_ours/")
    rendered = run(installed / "lab", "render", folder=project, LAB_PATH="team_labs")
    assert rendered.returncode == 0, rendered.stderr
    assert "team_labs/notebooks/71_ours.ipynb" in rendered.stdout.splitlines()
    words = ("--co", "-q", "--lab-only", "71", "--nbval-lax")
    ended = run(python, "-m", "pytest", *words, folder=project, LAB_PATH="team_labs")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "team_labs/notebooks/71_ours.ipynb::Cell 0" in ended.stdout.splitlines()


def test_what_the_package_brings_along_is_what_the_checkout_has(
    installed: Path, tmp_path: Path
) -> None:
    """The same keys in the cache: nothing is built again, no file of a recipe is missing."""
    program = (
        "import json; from harness.supply.pins import here; found = here();"
        " print(json.dumps([str(found.checkout), found.lock, sorted(found.entries)]))"
    )
    ended = run(installed / "python", "-c", program, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    folder, lock, entries = json.loads(ended.stdout)
    assert Path(folder).is_relative_to(installed.parent)
    assert (lock, entries) == (here().lock, sorted(here().entries))


def test_the_command_is_installed_and_called_by_its_name(installed: Path, project: Path) -> None:
    version = run(installed / "lab", "version", folder=project)
    assert version.stdout.startswith("kube-vault-labs 0.1.0\n")
    checked = run(installed / "lab", "check", "01", folder=project)
    assert checked.returncode == 3
    assert "try:   lab up" in checked.stderr
