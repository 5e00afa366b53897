"""The table "Why Vault" of lab 00: its links, its figures, and what it says without them."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from IPython.core.formatters import DisplayFormatter

from harness.base.errors import UsageError
from harness.lab.catalog import all_labs, find_steps
from harness.lab.context import LabContext
from harness.notebook.render import render
from labs.lab00_why.lab import why
from labs.lab00_why.measured import QUESTIONS
from labs.lab00_why.verdict import HERE, ROWS, Cell, Row, Verdict, link
from tests.fakes.lab import make_world

CELLS = {
    f"{row.topic}, {side}": cell
    for row in ROWS
    for side, cell in (("Secret", row.secret), ("Vault", row.vault))
}
NOTES: dict[str, Any] = {
    "elsewhere": {"copies": 1001, "events": 1009},
    "readers": {"list_gave": 1002},
    "freshness": {"volume": 1003.0, "restart": 1004, "stale": 1005, "places": 1006},
    "etcd": {"names": 1007},
    "audit": {"etcd": 1011},
    "vault": {
        "place": {"readers": 2001, "seconds": 2002},
        "policies": {"own": 2003, "other": 2004, "later": 2005, "names": 2006, "values": 2007},
        "dynamic": {"certificates": 2008, "ttl": 2009, "seconds": 2010},
        "transit": {"api": "TLS 2011", "vault": "TLS 2012", "plain": 2013},
        "rest": {"found": 2014, "control": 2015},
        "audit": {"who": "who 2016", "operation": "op 2017", "path": "path 2018", "values": 2019},
    },
}


@pytest.fixture(autouse=True)
def _drafts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The steps of draft labs count, too."""
    monkeypatch.setenv("LAB_DRAFTS", "1")
    all_labs.cache_clear()
    yield
    all_labs.cache_clear()


def fields(cell: Cell) -> list[str]:
    """The names in a cell's format string: `freshness[volume]`."""
    return [name for _, name, _, _ in string.Formatter().parse(cell.says) if name]


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_every_cell_is_proved_by_steps_that_exist(cell: Cell) -> None:
    assert cell.proof
    assert len([find_steps(name) for name in cell.proof]) == len(cell.steps())


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_every_figure_is_left_by_a_step_that_the_cell_names(cell: Cell) -> None:
    assert fields(cell), "a sentence without a figure is a claim"
    for name in fields(cell):
        step, _ = QUESTIONS[name.partition("[")[0]]
        assert step in cell.proof, name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.topic)
def test_what_vault_does_is_measured_here_and_now(row: Row) -> None:
    assert HERE in row.vault.proof
    assert all(name.startswith("vault[") for name in fields(row.vault))


def test_a_step_that_is_gone_is_noticed() -> None:
    gone = Cell("{vault[rest][found]}", (HERE, "01.no_such_step"))
    with pytest.raises(UsageError):
        test_every_cell_is_proved_by_steps_that_exist(gone)


def test_every_figure_stands_in_the_table() -> None:
    figures = set(_numbers(NOTES))
    for told in (str(Verdict(NOTES)), Verdict(NOTES)._repr_markdown_()):
        words = set(told.replace(".", " ").replace(",", " ").replace(";", " ").split())
        assert figures <= words
        assert "Not measured" not in told
        assert "{" not in told
    assert Verdict(NOTES).missing() == []


def _numbers(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _numbers(inner)
    else:
        yield str(value).split()[-1].removesuffix(".0")


def test_a_step_that_was_not_done_leaves_its_cells_empty_and_no_other() -> None:
    (step,) = find_steps("00.env_volume_subpath")[1]
    notes = {key: value for key, value in NOTES.items() if key != "freshness"}
    told = Verdict(notes)._repr_markdown_()
    assert told.count(f"Not measured: step {step.id} was not done") == 2
    assert told.count("Not measured") == 2
    assert Verdict(notes).missing() == []


def test_without_any_notes_nothing_is_claimed() -> None:
    told = Verdict({})._repr_markdown_()
    assert told.count("Not measured") == len(CELLS)
    assert Verdict({}).missing() == [row.topic for row in ROWS]


def test_half_a_note_counts_as_none() -> None:
    cell = Cell("{freshness[volume]:.0f} s of {freshness[places]}", ("00.env_volume_subpath",))
    assert cell.filled({"freshness": {"volume": 60.4, "places": 6}}) == "60 s of 6"
    assert cell.filled({"freshness": {"volume": 60.4}}) == ""
    assert cell.filled({"freshness": None}) == ""
    assert cell.filled({"freshness": {"volume": "soon", "places": 6}}) == ""


def test_the_markdown_is_a_table_of_three_columns() -> None:
    row = Row("A topic", Cell("a | b {x}", (HERE,)), Cell("{x}", (HERE,)))
    lines = Verdict({"x": 1}, (row,))._repr_markdown_().splitlines()
    assert len(lines) == 3
    assert [line.replace("\\|", "").count("|") for line in lines] == [2, 2, 2]
    assert "a \\| b 1" in lines[2]


def test_brackets_in_a_cell_are_text_in_a_terminal() -> None:
    row = Row("A topic", Cell("[bold]{x}[/]", (HERE,)), Cell("{x}", (HERE,)))
    assert "[bold]1[/]" in str(Verdict({"x": 1}, (row,)))


def test_a_notebook_gets_markdown_and_a_terminal_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = Verdict(NOTES)
    formatter: Any = DisplayFormatter
    formats, _ = formatter().format(verdict)
    assert formats["text/markdown"] == verdict._repr_markdown_()
    monkeypatch.setitem(why.drawings, "table", lambda _: verdict)
    LabContext(make_world(tmp_path, monkeypatch).lab().access, why).draw("table")
    assert capsys.readouterr().out.strip() == str(verdict).strip()


def test_links_lead_to_the_heading_of_the_step() -> None:
    notebooks = {lab.notebook: render(lab) for lab in all_labs() if lab.number != "00"}
    for name in {name for cell in CELLS.values() for name in cell.proof}:
        lab, (step,) = find_steps(name)
        file, _, anchor = link(step).partition("#")
        heading = unquote(anchor).replace("-", " ")
        assert heading == f"Step {step.number}: {step.title.replace('-', ' ')}"
        assert file == ("" if lab.number == "00" else lab.notebook)
        if file:
            headings = [cell.source.splitlines()[0] for cell in notebooks[file].cells]
            assert f"## Step {step.number}: {step.title}" in headings
