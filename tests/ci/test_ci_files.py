"""The files for other people's CI: they cannot be run here, so they are linted and looked into."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.base import process
from harness.base.paths import CHECKOUT, cache_root
from harness.supply import golang, oci

WORKFLOW = CHECKOUT / ".github" / "workflows" / "labs.yml"
GITLAB = CHECKOUT / "docs" / "ci" / "gitlab-ci.yml"
DEVCONTAINER = CHECKOUT / ".devcontainer" / "devcontainer.json"
MODULE = Path(__file__).parent / "actionlint"
LINTER = "github.com/rhysd/actionlint"


@pytest.fixture(scope="module")
def actionlint() -> Path:
    """The linter of GitHub's workflows, built once from its Go module and kept in the cache."""
    version = re.search(rf"{LINTER} v(\S+)", (MODULE / "go.mod").read_text(encoding="utf-8"))
    assert version is not None
    program = cache_root() / "tools" / f"actionlint-{version[1]}"
    if not program.exists():
        shared = golang.shared_folder()
        program.parent.mkdir(parents=True, exist_ok=True)
        # Tests run in several processes, each of which may come here first.
        beside = program.with_suffix(f".{os.getpid()}.new")
        go = golang.toolchain(shared, process.run, lambda _: None)
        process.run(
            [go, "build", "-o", beside, f"{LINTER}/cmd/actionlint"],
            env=golang.variables(shared, oci.architecture()),
            cwd=MODULE,
            timeout=600,
        )
        beside.rename(program)
    return program


def test_the_workflow_passes_its_linter(actionlint: Path) -> None:
    ended = subprocess.run(
        [actionlint, "-no-color", "-shellcheck=", "-pyflakes=", WORKFLOW],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_linter_would_see_a_mistake(actionlint: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    text = WORKFLOW.read_text(encoding="utf-8")
    wrong.write_text(text.replace("matrix.vault }}", "matrix.valut }}"), encoding="utf-8")
    ended = subprocess.run([actionlint, wrong], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "valut" in ended.stdout


@pytest.mark.parametrize(
    ("schema", "file"), [("github-workflows", WORKFLOW), ("gitlab-ci", GITLAB)]
)
def test_the_files_fit_their_schemas(schema: str, file: Path) -> None:
    words = ["-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(file)]
    ended = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def commands(file: Path) -> list[str]:
    """Every line of a script in a CI file that calls `./lab`, as words after it."""
    return re.findall(r"\./lab (.+)", file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", [WORKFLOW, GITLAB])
def test_they_call_commands_that_exist(file: Path) -> None:
    """A renamed command or option would break a pipeline that nobody runs here."""
    called = [line.partition(" >")[0].split() for line in commands(file) if "`" not in line]
    assert ["doctor"] in called
    for words in called:
        options = [word for word in words[1:] if word.startswith("-")]
        help_ = subprocess.run(
            [sys.executable, "-m", "harness.cli", words[0], "--help"],
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
            env={"COLUMNS": "200", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
            check=False,
        )
        assert help_.returncode == 0, help_.stderr
        for option in options:
            assert re.search(rf"{option}\b", help_.stdout), f"{words[0]} has no {option}"


@pytest.mark.parametrize("file", [WORKFLOW, GITLAB])
def test_both_run_two_releases_of_kubernetes_and_two_vaults(file: Path) -> None:
    jobs: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    jobs = jobs.get("jobs", jobs)["labs"]
    matrix = jobs["strategy"]["matrix"] if "strategy" in jobs else jobs["parallel"]["matrix"][0]
    matrix = {key.lower(): value for key, value in matrix.items()}
    assert len(matrix["kubernetes"]) == 2
    assert sorted(matrix["vault"]) == ["openbao", "vault"]


@pytest.mark.parametrize("file", [WORKFLOW, GITLAB, DEVCONTAINER])
def test_each_says_that_it_was_not_run_here(file: Path) -> None:
    comment = [line for line in file.read_text("utf-8").splitlines() if line[:1] in ("#", "/")]
    assert "was not run where this project is developed" in " ".join(
        line.strip("#/ ") for line in comment
    )


def test_the_workspace_has_an_engine_inside() -> None:
    text = re.sub(r"^\s*//.*$", "", DEVCONTAINER.read_text(encoding="utf-8"), flags=re.MULTILINE)
    settings = json.loads(text)
    # The properties of an image-based workspace (containers.dev, devcontainer.json reference).
    assert set(settings) <= {
        "name", "image", "features", "hostRequirements", "postCreateCommand", "remoteEnv",
        "customizations",
    }  # fmt: skip
    assert any("docker-in-docker" in feature for feature in settings["features"])
    assert settings["postCreateCommand"] == "./lab doctor"
