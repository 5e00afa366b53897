"""The canary: secret values of this run are found nowhere that a person or a file may show.

It provokes each way in which a value could get out (a printed answer, a refusal, an
assertion, a pod's log, a notebook's output, the diagnostics of a failure), then looks at
everything that was shown or written. It runs last, when the other tests have left theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import pytest
from nbclient import NotebookClient

from harness.base.errors import CheckFailed, LabError
from harness.base.paths import CHECKOUT
from harness.base.process import CommandFailed
from harness.base.redact import MASK, Secret, redact
from harness.cli import report
from harness.environment import diagnostics
from harness.environment.environment import Environment
from harness.lab.access import Access
from harness.lab.context import LabContext
from harness.lab.steps import expect
from harness.notebook.render import NOTEBOOKS
from harness.proving.leaks import KEEPERS, open_to_others, search
from harness.session.progress import CHECKED
from harness.session.runner import Runner

pytestmark = [pytest.mark.live, pytest.mark.last]

new_code: Any = nbformat.v4.new_code_cell
read: Any = nbformat.read
write: Any = nbformat.write

CELL_SECONDS = 180


@pytest.fixture
def context(lab_context: Callable[[str], LabContext]) -> LabContext:
    """Lab 01's context, with nothing of the lab there."""
    context = lab_context("01")
    Runner(context).reset()
    context.prepare()
    return context


@pytest.fixture
def canary(context: LabContext) -> Secret:
    """A value that this environment alone has, stored in its Vault."""
    value = context.secret("canary")
    mount = context.path("canary")
    context.http.post(f"/v1/sys/mounts/{mount}", json={"type": "kv"})
    context.http.post(f"/v1/{mount}/bird", json={"song": value})
    return value


def test_nothing_that_is_told_holds_the_value(context: LabContext, canary: Secret) -> None:
    told: list[str] = []
    context.on_call = told.append
    answer = context.http.get(f"/v1/{context.path('canary')}/bird")
    assert answer.json()["song" if "song" in answer.json() else "data"]
    told += [repr(answer), repr(canary), repr(context), repr(context.access), f"{context.http!r}"]
    context.vault.token  # noqa: B018 # make the client, so that its repr can be looked at
    told.append(repr(context.vault))
    for provoke in (
        lambda: context.http.post(f"/v1/{context.path('canary')}/{canary}", json=[str(canary)]),
        lambda: expect(False, "there is no bird", found={"song": str(canary)}),
        lambda: context.run(f"kubectl get nothing {canary}"),
        lambda: context.kube.get("Nothing", str(canary)),
    ):
        with pytest.raises((LabError, CheckFailed, CommandFailed)) as caught:
            provoke()
        told.append(str(caught.value))
    assert MASK in "\n".join(told), "the value was there to be masked"
    values = (canary, context.access.vault_token)
    assert [redact(line) for line in told if any(value in line for value in values)] == []


def test_a_pod_that_shouts_the_value_is_quoted_without_it(
    context: LabContext, canary: Secret, tmp_path: Path
) -> None:
    context.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "shouts"},
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "app",
                        "image": context.image(),
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["sh", "-c", f"echo the bird sings {canary}; exit 1"],
                    }
                ],
            },
        }
    )
    context.kube.wait_for_pod("shouts", "Failed")
    assert canary in context.kube.logs("shouts"), "the pod must have shouted"
    explained = context.kube.explain_pod("shouts")
    assert f"the bird sings {MASK}" in explained
    diagnostics.collect(Environment(context.access.name), tmp_path)
    assert (tmp_path / "pods.txt").exists()
    assert search(tmp_path) == []


def test_a_notebook_that_prints_secrets_shows_none(
    context: LabContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_ENV", context.access.name)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    lab = context.lab
    notebook = read(NOTEBOOKS / lab.notebook, as_version=4)
    notebook["cells"] += [
        new_code("print('printed', lab.secret('canary'), lab.access.vault_token)"),
        new_code("{'result': str(lab.secret('canary'))}"),
        new_code("raise ValueError(str(lab.secret('canary')))"),
    ]
    NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", allow_errors=True
    ).execute(cwd=str(tmp_path))
    # A captured copy is searched by a process that knows the same values.
    for name in ("canary", "app"):
        context.secret(name)
    write(notebook, tmp_path / "executed.ipynb")
    *cells, printed, result, error = [cell for cell in notebook["cells"] if "outputs" in cell]
    failed = [out for cell in cells for out in cell["outputs"] if out["output_type"] == "error"]
    assert failed == []
    for cell in (printed, result, error):
        assert MASK in str(cell["outputs"])
    assert search(tmp_path) == []


def test_the_report_of_what_was_done_shows_no_value(
    context: LabContext, canary: Secret, tmp_path: Path
) -> None:
    """Every lab that was done before is on the page, and a sentence and a picture that shout."""
    step, progress = context.lab.steps[0], Runner(context).progress
    progress.keep_facts(step, [f"the pod holds {canary}"])
    picture = context.folder / "shouts.svg"
    picture.write_text(f'<svg xmlns="http://www.w3.org/2000/svg"><text>{canary}</text></svg>')
    try:
        # A step is on the page when its lab was begun.
        progress.mark(step, CHECKED)
        report.write(report.gather(Environment(context.access.name)), tmp_path / "report.html")
    finally:
        picture.unlink()
        progress.forget([step])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"the pod holds {MASK}" in page
    assert quote(MASK) in page, "the picture is there, and masked"
    assert search(tmp_path) == []


def test_nothing_that_was_written_holds_a_secret(
    environment: Access, context: LabContext, leaks: list[str]
) -> None:
    for name in ("canary", "app"):
        context.secret(name)
    assert search(environment.state, KEEPERS) == []
    assert environment.state.stat().st_mode & 0o077 == 0
    # The server in the container runs as another user; the folder's mode keeps people out.
    but_not = "vault/config/tls.key"
    assert [told for told in open_to_others(environment.state) if but_not not in told] == []
    assert leaks == [], "tests printed or logged a secret"
