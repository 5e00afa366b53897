"""JupyterLab for a learner: copies and settings; tests/live/test_jupyter.py runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.notebook import jupyter
from harness.notebook.render import EXERCISES, write_all
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
    settings = jupyter.settings(tmp_path, "t", 8888)
    assert settings["ServerApp"]["ip"] == "127.0.0.1"
    assert settings["ServerApp"]["open_browser"] is False
    assert settings["IdentityProvider"]["token"] == "t"
    assert settings["LabApp"]["news_url"] is None
    module, _, name = settings["LabApp"]["check_for_updates_class"].rpartition(".")
    assert hasattr(__import__(module, fromlist=[name]), name)
