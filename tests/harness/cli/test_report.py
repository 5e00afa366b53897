"""`lab report`: what was done, on one page that needs nothing else and holds no secret."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UsageError
from harness.base.redact import MASK, Secret
from harness.cli import main as cli
from harness.cli import report
from harness.environment.environment import Environment
from harness.environment.record import EnvironmentRecord
from harness.lab import catalog
from harness.session.progress import CHECKED, SKIPPED, SOLVED, Progress
from harness.supply.base import Provided
from tests.fakes.toylab import toy

BOOK, LOOK, LETTER = toy.steps
RESULTS = {
    "schema": 1,
    "taken": "2026-11-28T10:00:00Z",
    "load_average": [1.5, 2.5],
    "ways": {
        "plain": {"start_seconds": [2.0, 1.0, 3.0], "requests_at_start": 0},
        "csi": {"start_seconds": [4.0], "change_to_restarted_process_seconds": None},
    },
    "leaks": {
        "plain": {"etcd": True, "logs": False},
        "csi": {"etcd": False, "logs": False},
        "control": {"etcd": True, "logs": False},
    },
}


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment in which two steps of the toy are done; nothing of it runs."""
    monkeypatch.setenv("LAB_STATE", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(catalog, "all_labs", lambda: (toy,))
    found = Environment("classroom")
    part = Provided("node", "1.36.3", "an <image> built here", False, "sha256:1", image="node")
    EnvironmentRecord(
        "openbao", 8200, "auto", kubernetes="1.36", why="offline: no network", provided=(part,)
    ).write(found.folder)
    progress = progress_of(found)
    for step in (BOOK, LOOK):
        progress.begin(step)
    progress.mark(BOOK, SOLVED, seconds=75.4)
    progress.keep_facts(BOOK, ["there is a <b>book</b> on the shelf", "the book says hello"])
    progress.count_hint(BOOK, 2)
    progress.mark(LOOK, CHECKED)
    progress.mark(LETTER, SKIPPED)
    return found


def progress_of(environment: Environment) -> Progress:
    return Progress(environment.folder / "labs" / toy.number / "progress.json")


def lab_folder(environment: Environment) -> Path:
    return environment.folder / "labs" / toy.number


class Shown(HTMLParser):
    """What a page shows, and what it would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.sources, self.tags = "", list[str](), set[str]()
        self._style = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self._style = tag == "style"
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.text = f"{self.text} {' '.join(data.split())}".strip()


def test_the_page_says_what_was_done_when_and_what_the_check_found(
    environment: Environment,
) -> None:
    shown = Shown(report.page(report.gather(environment))).text
    assert f"Lab 90: {toy.title}" in shown
    assert f"90.1 {BOOK.title} done by the labs ·" in shown
    assert "· 1m15s · 2 hints" in shown
    assert "the book says hello" in shown
    assert f"90.2 {LOOK.title} done ·" in shown
    assert f"90.3 {LETTER.title} skipped ·" in shown
    assert "2 of 3 , 1 skipped" in shown or "2 of 3, 1 skipped" in shown
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", shown)
    assert "Kubernetes 1.36.3, openbao" in shown
    assert "offline: no network" in shown
    assert "Files are not secrets." in shown


def test_what_a_step_says_is_text_and_never_markup(environment: Environment) -> None:
    page = report.page(report.gather(environment))
    assert "a &lt;b&gt;book&lt;/b&gt; on" in page
    assert "an &lt;image&gt; built here" in page


def test_the_time_of_a_step_is_from_its_beginning_to_its_check(environment: Environment) -> None:
    stored = json.loads(progress_of(environment).file.read_text())
    stored[LOOK.name] |= {"began": "2026-11-28T10:00:00+00:00", "at": "2026-11-28T11:05:00+00:00"}
    progress_of(environment).file.write_text(json.dumps(stored))
    steps = report.gather(environment)["labs"][0]["steps"]
    assert [step["took"] for step in steps] == [75.4, 3900.0, None]


def test_progress_of_an_earlier_version_has_no_times_and_is_reported(
    environment: Environment,
) -> None:
    progress_of(environment).file.write_text(json.dumps({BOOK.name: {"state": "checked"}}))
    shown = Shown(report.page(report.gather(environment))).text
    assert f"90.1 {BOOK.title} done 90.2" in shown


def test_the_page_needs_no_other_file_and_no_script(environment: Environment) -> None:
    (lab_folder(environment) / "who.png").write_bytes(b"\x89PNG")
    (lab_folder(environment) / "times.png").write_bytes(b"\x89PNG")
    (lab_folder(environment) / "times.svg").write_text('<svg xmlns="x"><text>2.0 s</text></svg>')
    shown = Shown(report.page(report.gather(environment)))
    links = [source for source in shown.sources if not source.startswith("#")]
    assert links == [
        "data:image/svg+xml,%3Csvg%20xmlns%3D%22x%22%3E%3Ctext%3E2.0%20s%3C/text%3E%3C/svg%3E",
        "data:image/png;base64,iVBORw==",
    ]
    assert not shown.tags & {"script", "link", "iframe", "object"}


def test_no_secret_is_on_the_page_wherever_one_stands(environment: Environment) -> None:
    value = Secret("a-password-of-this-run")
    progress_of(environment).keep_facts(BOOK, [f"the pod holds {value}"])
    (lab_folder(environment) / "map.svg").write_text(f"<svg><text>{value}</text></svg>")
    stored = json.loads(progress_of(environment).file.read_text())
    stored[LOOK.name]["facts"] = ["the token is hvs.CAESIJ0123456789abcdefghijklm"]
    progress_of(environment).file.write_text(json.dumps(stored))
    assert value not in progress_of(environment).file.read_text()
    page = report.page(report.gather(environment))
    assert value not in page
    assert "hvs.CAESIJ" not in page
    assert page.count(MASK) == 2


def test_figures_of_lab_05_are_tables(environment: Environment) -> None:
    (lab_folder(environment) / "results.json").write_text(json.dumps(RESULTS))
    shown = Shown(report.page(report.gather(environment))).text
    assert "pod created to secret read, s 2 (1–3) 4" in shown
    assert "change to restarted process, s – –" in shown
    assert "Load average before and after: 1.5, 2.5." in shown
    assert "etcd found – found" in shown
    assert "logs – – not found: nothing is known" in shown


def test_results_of_another_schema_are_left_out(environment: Environment) -> None:
    (lab_folder(environment) / "results.json").write_text(json.dumps(RESULTS | {"schema": 2}))
    assert report.gather(environment)["labs"][0]["results"] is None


def test_the_command_writes_a_file_for_its_owner_alone(
    environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "handed-in" / "report.html"
    assert cli.main(["report", "--html", str(file), "--env", "classroom"]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    assert file.stat().st_mode & 0o077 == 0
    assert file.read_text().startswith("<!doctype html>")


def test_without_html_it_is_a_table_or_data(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", "--env", "classroom"]) == 0
    assert re.search(r"90\.1 .*done by the labs .* 1m15s", capsys.readouterr().out)
    assert cli.main(["report", "--env", "classroom", "-o", "json"]) == 0
    (lab,) = json.loads(capsys.readouterr().out)["labs"]
    assert [step["state"] for step in lab["steps"]] == ["solved", "checked", "skipped"]


def test_before_the_first_step_it_says_how_to_begin(environment: Environment) -> None:
    shutil.rmtree(environment.folder / "labs")
    data = report.gather(environment)
    assert "No step has been done yet" in Shown(report.page(data)).text
    assert "./lab run" in str(report.tables(data)[0].title)


def test_an_environment_that_never_was_has_no_report(environment: Environment) -> None:
    with pytest.raises(UsageError, match="there are: classroom"):
        report.gather(Environment("typo"))


def test_a_place_that_cannot_be_written_is_named(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/report\.html"):
        report.write(report.gather(environment), tmp_path / "file" / "report.html")
