"""The row of steps in a notebook: which are done, which is next."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.notebook.lab import NotebookLab
from harness.notebook.panel import Panel
from harness.session.progress import CHECKED, SKIPPED, Progress
from tests.fakes import toylab
from tests.fakes.toylab import toy

BOOK, LOOK, LETTER = toy.steps


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path / "progress.json")


def shown(panel: Panel) -> str:
    return re.sub(r"<[^>]*>", " ", panel._repr_html_())


def test_it_marks_what_is_done_and_names_the_next(progress: Progress) -> None:
    progress.mark(BOOK, CHECKED)
    panel = Panel(toy, progress)
    assert shown(panel).split() == (
        f"✓ 1 → 2 3 &nbsp;1 of 3 steps done. Next: step 2, {LOOK.title}.".split()
    )
    assert repr(panel) == "1 of 3 steps done; next: step 2"


def test_a_skipped_step_is_not_done_and_not_next(progress: Progress) -> None:
    progress.mark(BOOK, CHECKED)
    progress.mark(LOOK, SKIPPED)
    html = Panel(toy, progress)._repr_html_()
    assert f'title="{LOOK.title}: skipped">2<' in html
    assert f'title="{LETTER.title}: next">→ 3<' in html


def test_when_all_is_done_it_leads_on(progress: Progress) -> None:
    for step in toy.steps:
        progress.mark(step, CHECKED)
    assert "3 of 3 steps done. Go on with the next lab" in shown(Panel(toy, progress))


def test_its_colours_come_from_the_theme(progress: Progress) -> None:
    for colour in re.findall(r"[;\"]color:([^;\"]+)", Panel(toy, progress)._repr_html_()):
        assert colour.startswith("var(--jp-")


class Handle:
    """IPython's handle of a display that can be updated."""

    def __init__(self) -> None:
        self.updates: list[str] = []

    def update(self, panel: Panel) -> None:
        self.updates.append(repr(panel))


def test_a_check_brings_the_row_at_the_top_up_to_date_and_shows_it_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toylab.install(monkeypatch.setattr)
    handle, below = Handle(), list[str]()

    def display(panel: Panel, display_id: bool = False) -> Any:
        below.append(repr(panel))
        return handle if display_id else None

    monkeypatch.setattr("IPython.display.display", display)
    lab = NotebookLab(toylab.access(tmp_path), toy)
    lab.show_progress()
    lab.solve("put_book")
    lab.check("look")
    assert handle.updates == ["1 of 3 steps done; next: step 2", "2 of 3 steps done; next: step 3"]
    assert below == ["0 of 3 steps done; next: step 1", *handle.updates]
    lab.reset()
    assert handle.updates[-1] == "0 of 3 steps done; next: step 1"
