"""JupyterLab for a learner: copies and settings; tests/live/test_jupyter.py runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from jupyterlab_server.workspaces_handler import WorkspacesManager

from harness.notebook import jupyter, workspace
from harness.notebook.render import EXERCISES, picture_path, write_all
from tests.fakes.toylab import toy

NAME = toy.notebook


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of notebooks as they are committed."""
    monkeypatch.setattr(jupyter, "all_labs", lambda: (toy,))
    folder = tmp_path / "committed"
    write_all(folder, (toy,))
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def test_the_picture_that_a_notebook_shows_is_copied_with_it(committed: Path, state: Path) -> None:
    (committed / "pictures").mkdir()
    (committed / picture_path(toy)).write_text("<svg/>")
    jupyter.copy_notebooks(state, committed)
    assert (jupyter.notebooks_of(state) / picture_path(toy)).read_text() == "<svg/>"


def test_every_notebook_is_copied_once(committed: Path, state: Path) -> None:
    assert jupyter.copy_notebooks(state, committed) == []
    for path in (Path(NAME), Path(EXERCISES, NAME)):
        copy = jupyter.notebooks_of(state) / path
        assert copy.read_bytes() == (committed / path).read_bytes()


def test_work_of_the_learner_stays_even_when_the_lab_changes(committed: Path, state: Path) -> None:
    jupyter.copy_notebooks(state, committed)
    mine = jupyter.notebooks_of(state) / EXERCISES / NAME
    mine.write_text("my work")
    assert jupyter.copy_notebooks(state, committed) == []
    (committed / EXERCISES / NAME).write_text("a newer exercise")
    (note,) = jupyter.copy_notebooks(state, committed)
    assert note.startswith(f"{EXERCISES}/{NAME} has your work in it")
    assert mine.read_text() == "my work"


def test_a_copy_without_work_in_it_follows_the_lab(committed: Path, state: Path) -> None:
    jupyter.copy_notebooks(state, committed)
    (committed / NAME).write_text("a newer lab")
    assert jupyter.copy_notebooks(state, committed) == []
    assert (jupyter.notebooks_of(state) / NAME).read_text() == "a newer lab"


def test_a_notebook_that_somebody_put_there_is_not_overwritten(
    committed: Path, state: Path
) -> None:
    jupyter.notebooks_of(state).mkdir()
    (jupyter.notebooks_of(state) / NAME).write_text("not ours")
    assert len(jupyter.copy_notebooks(state, committed)) == 1
    assert (jupyter.notebooks_of(state) / NAME).read_text() == "not ours"


def test_the_server_listens_on_the_loopback_and_asks_nobody_for_news(tmp_path: Path) -> None:
    settings = jupyter.settings(tmp_path, "t", 8888, ["sh"])
    assert settings["ServerApp"]["ip"] == "127.0.0.1"
    assert settings["ServerApp"]["open_browser"] is False
    assert settings["IdentityProvider"]["token"] == "t"
    assert settings["LabApp"]["news_url"] is None
    module, _, name = settings["LabApp"]["check_for_updates_class"].rpartition(".")
    assert hasattr(__import__(module, fromlist=[name]), name)


def test_a_terminal_is_the_shell_of_the_lab(tmp_path: Path) -> None:
    shell = workspace.shell_command("01", "classroom")
    settings = jupyter.settings(tmp_path, "t", 8888, shell)
    assert settings["ServerApp"]["terminado_settings"] == {"shell_command": shell}
    # The state folder holds no such environment: the command says so, by its name.
    said = subprocess.run(
        shell,
        env={**os.environ, "LAB_STATE": str(tmp_path)},
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    assert said.stderr.startswith("environment classroom is not up")


def test_the_workspace_has_the_notebook_on_the_left_and_a_terminal_on_the_right(
    tmp_path: Path,
) -> None:
    workspace.write(tmp_path, "exercises/90_toy.ipynb")
    stored = WorkspacesManager(str(tmp_path)).load(workspace.NAME)["data"]
    main = stored["layout-restorer:data"]["main"]
    left, right = main["dock"]["children"]
    assert main["dock"]["orientation"] == "horizontal"
    assert left["widgets"] == ["notebook:exercises/90_toy.ipynb"] == [main["current"]]
    assert right["widgets"] == ["terminal:1"]
    assert stored[left["widgets"][0]]["data"]["path"] == "exercises/90_toy.ipynb"
    assert stored["terminal:1"]["data"] == {"name": "1"}
