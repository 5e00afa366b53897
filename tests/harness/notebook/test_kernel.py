"""What a real kernel shows: short errors, no secret, cells that know their step.

One kernel runs one notebook of many cells (starting a kernel takes a second); each test
then looks at the outputs of its cell.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from harness.base.errors import CheckFailed, LabError
from harness.base.paths import CHECKOUT
from harness.base.redact import MASK, register
from harness.notebook import kernel
from tests.fakes.toylab import TOKEN

new_code: Any = nbformat.v4.new_code_cell
new_notebook: Any = nbformat.v4.new_notebook

OPEN = (
    "from tests.fakes import toylab\ntoylab.install()\nfrom harness.notebook.lab import open_lab\n"
)

CELLS = {
    "open": OPEN + 'lab = open_lab("90")',
    "unknown": 'open_lab("17")',
    "print": "print('token', lab.access.vault_token)",
    "result": "{'token': str(lab.access.vault_token), 'n': 1}",
    "error": "raise ValueError(str(lab.access.vault_token))",
    "log": "import logging; logging.warning('with %s', lab.access.vault_token)",
    "child": "import sys\n"
    "print(lab.run(f'{sys.executable} -c \"import os; print(os.environ[0])\"'.replace('0', "
    "repr('VAULT_TOKEN'))))",
    "picture": "import base64\npicture = lab.folder / 'drawn.png'\n"
    "lab.folder.mkdir(parents=True, exist_ok=True)\n"
    "picture.write_bytes(base64.b64decode('iVBORw0KGgo='))\nlab.show(picture)",
    "early check": 'lab.check("put_book")',
    "hint one": 'lab.hint("put_book")',
    "hint two": 'lab.hint("put_book")',
    "hint three": 'lab.hint("put_book")',
    "lab error": "from harness.base.errors import LabError\n\n"
    "def fails():\n    raise LabError('it broke', where='here', hint='mend it')\n\nfails()",
    "look too soon": "# Step 90.2\nfrom harness import expect\n"
    "expect((toylab.shelf(lab) / 'book').exists(), 'the book is still there')",
    "bad step": "# Step 90.9\nprint('must not run')",
    "own work": "# Step 90.1\n(toylab.shelf(lab) / 'book').write_text('hello')\n"
    "lab.notes['title'] = '{\"title\": \"mine\"}'",
    "check": 'lab.check("put_book")',
    "no hint": 'lab.hint("put_book")',
    "look": "# Step 90.2\nexpect((toylab.shelf(lab) / 'book').exists(), 'the book is still there')",
    "again": "# Step 90.1",
    "solve": 'lab.solve("put_letter", with_earlier=True)',
    "reset one": 'lab.reset("put_letter")',
    "reset all": "lab.reset()",
    "reset again": "lab.reset()",
}  # fmt: skip


class Ran:
    """The outputs of each cell, and the state folder they left."""

    def __init__(self, outputs: dict[str, list[dict[str, Any]]], state: Path) -> None:
        self.outputs = outputs
        self.state = state

    def text(self, name: str) -> str:
        """Everything printed by one cell."""
        return "".join(out["text"] for out in self.outputs[name] if out["output_type"] == "stream")

    def error(self, name: str) -> str:
        """The error that one cell showed, without colours."""
        (found,) = (out for out in self.outputs[name] if out["output_type"] == "error")
        text = "\n".join(found["traceback"])
        return text.replace("\x1b[31m", "").replace("\x1b[0m", "")

    def data(self, name: str) -> dict[str, str]:
        """The result of one cell, by MIME type."""
        (found,) = (out for out in self.outputs[name] if "data" in out)
        return dict(found["data"])


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    state = tmp_path_factory.mktemp("state")
    notebook = new_notebook(
        cells=[new_code(text, id=f"c{n}") for n, text in enumerate(CELLS.values())]
    )
    execute(notebook, state)
    return Ran(
        dict(zip(CELLS, (cell["outputs"] for cell in notebook["cells"]), strict=True)), state
    )


def execute(notebook: Any, state: Path) -> None:
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    own = {"TOY_STATE": str(state), "PYTHONPATH": path, "IPYTHONDIR": str(state / "ipython")}
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True)
    client.execute(env={**os.environ, **own}, cwd=str(state))


def test_opening_says_where_one_is(ran: Ran) -> None:
    assert (
        ran.text("open") == "Lab 90, A toy: 0 of 3 steps done in environment lab. Next: step 1.\n"
    )


def test_an_unknown_lab_is_one_short_answer(ran: Ran) -> None:
    assert ran.error("unknown").splitlines() == [
        "✗ there is no lab '17'",
        "  try:   the labs are 90 (A toy)",
        '  ran:   line 1: open_lab("17")',
    ]


@pytest.mark.parametrize("cell", ["print", "result", "error", "log", "child"])
def test_no_output_of_any_kind_shows_a_secret(ran: Ran, cell: str) -> None:
    assert ran.outputs[cell], "the cell must show something"
    shown = json.dumps(ran.outputs[cell], ensure_ascii=False)
    assert TOKEN not in shown
    assert MASK in shown


def test_a_picture_is_shown_as_it_is(ran: Ran) -> None:
    assert ran.data("picture")["image/png"].strip() == "iVBORw0KGgo="


def test_a_failed_check_says_what_is_missing_and_how_to_go_on(ran: Ran) -> None:
    assert ran.error("early check").splitlines() == [
        "✗ not yet true: there is a book on the shelf",
        "  found: []",
        "  try:   write one",
        '  stuck? lab.hint("put_book") gives a hint, lab.solve("put_book") does the step for you',
    ]


def test_hints_begin_with_the_state_and_come_one_at_a_time(ran: Ran) -> None:
    first, second, third = (ran.text(f"hint {n}") for n in ("one", "two", "three"))
    assert first.startswith("not yet true: there is a book on the shelf")
    assert "Hint 1 of 2: Look at `shelf(lab)`." in first
    assert "Write" not in first
    assert "Hint 2 of 2: Write `book`: hello." in second
    assert 'lab.solve("put_book")' in second
    assert third == second
    assert ran.text("no hint") == "Step 1 holds as it is: no hint needed.\n"


def test_an_error_of_ours_has_three_parts_and_the_persons_own_line(ran: Ran) -> None:
    assert ran.error("lab error").splitlines() == [
        "✗ it broke",
        "  where: here",
        "  try:   mend it",
        "  ran:   line 4: raise LabError('it broke', where='here', hint='mend it')",
    ]


def test_a_cell_whose_step_cannot_begin_does_not_run(ran: Ran) -> None:
    assert "no step '9'" in ran.error("bad step")
    assert "must not run" not in ran.text("bad step")


def test_a_check_shows_each_fact(ran: Ran) -> None:
    assert ran.text("check").splitlines() == [
        "✓ there is a book on the shelf",
        "✓ the book says hello",
        "Step 1 is done. Next: Look at the shelf.",
    ]


def test_a_step_that_looks_shows_its_facts_and_is_then_done(ran: Ran) -> None:
    assert "not yet true: the book is still there" in ran.error("look too soon")
    assert ran.text("look") == "✓ the book is still there\n"


def test_solve_shows_the_code_it_ran(ran: Ran) -> None:
    shown = ran.text("solve")
    assert '(shelf(lab) / "letter").write_text' in shown
    assert "✓ there is a letter on the shelf" in shown
    # Steps 1 and 2 were done before: they are not done again.
    assert "Step 1 was done" not in shown


def test_running_a_done_step_again_tells_the_way_back(ran: Ran) -> None:
    assert ran.text("own work") == ""
    assert 'lab.reset("put_book")' in ran.text("again")


def test_reset_says_what_it_removed(ran: Ran) -> None:
    assert ran.text("reset one") == "removed letter\n"
    assert ran.text("reset all") == "removed book\n"
    assert ran.text("reset again") == "There was nothing to remove.\n"


# -- without a kernel -------------------------------------------------------------------


def test_messages_are_redacted_whatever_their_form() -> None:
    register("a-known-value")
    sent: list[tuple[Any, ...]] = []

    class Session:
        def send(self, *args: Any, **options: Any) -> None:
            sent.append(args)

    session = Session()
    kernel.redact_session(session)
    send: Any = session.send
    send(None, "stream", {"text": "a-known-value"})
    send(None, {"msg_type": "display_data", "content": {"data": ["a-known-value"]}})
    send(None, "execute_input", {"code": "'a-known-value'"})
    assert sent == [
        (None, "stream", {"text": MASK}),
        (None, {"msg_type": "display_data", "content": {"data": [MASK]}}, None),
        (None, "execute_input", {"code": "'a-known-value'"}),
    ]


def test_a_private_key_that_is_printed_in_pieces_is_masked_on_its_own_stream() -> None:
    sent: list[str] = []

    class Session:
        def send(self, stream: Any, message: Any, content: Any = None) -> None:
            sent.append(content["text"])

    session = Session()
    kernel.redact_session(session)
    begin, body, end = (
        "-----BEGIN PRIVATE KEY-----\n",
        "MIGHAgEA" * 8,
        "-----END PRIVATE KEY-----\n",
    )
    for name, text in (
        ("stdout", begin),
        ("stderr", "meanwhile\n"),
        ("stdout", f"{body}\n"),
        ("stdout", end),
        ("stdout", "after\n"),
    ):
        session.send(None, "stream", {"name": name, "text": text})
    assert sent == [f"{MASK}\n", "meanwhile\n", f"{MASK}\n", f"{MASK}\n", "after\n"]


def test_an_error_is_redacted_with_its_notes() -> None:
    register("another-value")
    error = CheckFailed("found another-value", hint="not another-value")
    error.add_note("note: another-value")
    lines = kernel.render_error(error, "line 1: f('another-value')")
    assert "another-value" not in "\n".join(lines)
    assert len(lines) == 4


def test_only_a_step_comment_in_the_first_line_begins_a_step() -> None:
    cell = ["# Step 01.3\n", "x = 1\n"]
    assert kernel.begin_step_first(cell) == ['__lab_begin_step__("01.3")\n', "x = 1\n"]
    for other in (["x = 1\n", "# Step 01.3\n"], ["# Step one\n"], []):
        assert kernel.begin_step_first(other) == other


def test_nothing_happens_without_ipython() -> None:
    assert kernel.install() is False
    kernel.follow(kernel.ignore, kernel.ignore)
    assert issubclass(CheckFailed, LabError)
