"""JupyterLab for real: it starts, it is closed to strangers, it ends, a browser can use it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
import requests

from harness.base.errors import EnvironmentLacks, GaveUp
from harness.base.paths import CHECKOUT
from harness.base.wait import wait_for
from harness.lab.access import Access
from harness.lab.catalog import find_lab
from harness.lab.context import LabContext
from harness.lab.steps import Lab
from harness.notebook import jupyter
from harness.notebook.render import EXERCISES, write_all
from harness.session.progress import Progress
from harness.session.runner import Runner
from tests.fakes import toylab
from tests.live import chromium

NOTEBOOK_SECONDS = 900.0
MENU_ATTEMPTS = 3

# The notebook's own words: steps that are done, or the mark of an error.
OUTPUTS = (
    "[...document.querySelectorAll('.jp-OutputArea-output')].map(e => e.textContent).join('\\n')"
)
# "Run All Cells" before the kernel is connected would make JupyterLab ask for one.
READY = """!!document.querySelector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
    && document.querySelector('.jp-Toolbar-kernelName').textContent.includes('Python 3')"""
QUEUED = """[...document.querySelectorAll('.jp-InputPrompt')].some(
    prompt => /[*1-9]/.test(prompt.textContent))"""

SERVE = """
import sys
from pathlib import Path
from harness.notebook import jupyter
from tests.fakes import toylab

jupyter.all_labs = lambda: (toylab.toy,)
state, committed = Path(sys.argv[1]), Path(sys.argv[2])
jupyter.copy_notebooks.__defaults__ = (committed,)
jupyter.serve(toylab.access(state), toylab.toy, exercise=True, port=18888)
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_opens_the_right_notebook_and_ends_without_a_trace(
    tmp_path: Path, state: Path, ending: signal.Signals
) -> None:
    write_all(tmp_path / "committed", (toylab.toy,))
    serving = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(state), str(tmp_path / "committed")],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert serving.stdout is not None
        url = serving.stdout.readline().strip()
        base, _, rest = url.partition("lab/tree/")
        name = f"{EXERCISES}/{toylab.toy.notebook}"
        assert base.startswith("http://127.0.0.1:")
        assert rest.startswith(f"{name}?token=")
        token = rest.partition("token=")[2]
        _look_around(base, name, token)
        record = next((state / "jupyter" / "runtime").glob("jpserver-*.json"))
        server = json.loads(record.read_text())["pid"]
        assert token not in Path(f"/proc/{server}/cmdline").read_text()
    finally:
        serving.send_signal(ending)
        serving.wait(60)
    assert serving.returncode == 0
    wait_for("the server to be gone", lambda: not Path(f"/proc/{server}").exists(), timeout=10)


def _look_around(base: str, name: str, token: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(f"{base}api/contents", timeout=30).status_code == 403
        session.headers["Authorization"] = f"token {token}"
        assert session.get(f"{base}api/contents/{name}", timeout=30).json()["type"] == "notebook"
        page = session.get(f"{base}lab", timeout=30).text
        assert '"news": {"disabled": true}' in page
        assert "apputils-extension:announcements" in page.partition("disabledExtensions")[2]


def test_a_server_that_does_not_start_says_why(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jupyter, "settings", lambda *_: {"Application": {"log_level": "nonsense"}})
    with pytest.raises(EnvironmentLacks, match="log_level"):
        jupyter.start(toylab.access(state), toylab.toy)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[chromium.Page]:
    """A browser's tab."""
    program = chromium.program()
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with chromium.browse(program, tmp_path / "profile") as opened:
        yield opened


@pytest.fixture
def first_lab(lab_context: Callable[[str], LabContext]) -> Lab:
    """Lab 01, with nothing of it done: it has many cells and waits for little."""
    lab = find_lab("01")
    Runner(lab_context(lab.number)).reset()
    return lab


def _run_all_cells(page: chromium.Page) -> None:
    """Choose it in the menu, again if need be: a menu that is still drawn swallows the click."""
    for attempt in range(MENU_ATTEMPTS):
        page.call("Input.dispatchKeyEvent", type="keyDown", key="Escape", code="Escape")
        # Focus first: menus act on the notebook that has it.
        page.click(".jp-Notebook .jp-MarkdownOutput", timeout=120)
        wait_for("the kernel to be connected and idle", lambda: page.evaluate(READY), timeout=120)
        page.click(".lm-MenuBar-itemLabel", "Run")
        page.click(".lm-Menu-itemLabel", "Run All Cells")
        with suppress(GaveUp) if attempt < MENU_ATTEMPTS - 1 else nullcontext():
            wait_for("the cells to be queued", lambda: page.evaluate(QUEUED), timeout=30)
            return


def test_a_browser_runs_all_cells_and_the_last_check_passes(
    environment: Access, first_lab: Lab, page: chromium.Page, tmp_path: Path
) -> None:
    reports = CHECKOUT / "reports"
    picture = (reports if reports.is_dir() else tmp_path) / "jupyterlab.png"
    # The learner's copy of an earlier run has outputs: this run starts from a fresh one.
    (jupyter.notebooks_of(environment.state) / first_lab.notebook).unlink(missing_ok=True)
    progress = Progress(environment.state / "labs" / first_lab.number / "progress.json")
    server = jupyter.start(environment, first_lab)
    try:
        page.open(server.url)
        _run_all_cells(page)

        checked = [step.number for step in first_lab.steps if not step.observe]

        def ended() -> str:
            shown = str(page.evaluate(OUTPUTS))
            return shown if "✗" in shown or f"Step {checked[-1]} is done." in shown else ""

        shown = wait_for("the last check to be shown", ended, timeout=NOTEBOOK_SECONDS)
        assert "✗" not in shown
        assert re.findall(r"Step (\d+) is done\.", shown) == [str(number) for number in checked]
        assert all(progress.state(step) for step in first_lab.steps if not step.observe)
        # JupyterLab draws only the cells that are in view: go to where it ended.
        page.call("Input.dispatchKeyEvent", type="keyDown", key="End", code="End")
    finally:
        page.picture(picture)
        server.stop()
    abroad = {url for url in page.requested if not url.startswith((server.base, "data:", "blob:"))}
    assert abroad == set(), "the page asked servers elsewhere"
