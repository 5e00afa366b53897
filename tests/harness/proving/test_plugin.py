"""The pytest plugin: options that contradict themselves, redacted reports, notebooks.

The plugin runs in a pytest inside pytest, on the toy lab, whose environment is a folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest

from harness.base.errors import EnvironmentLacks
from harness.base.paths import CHECKOUT
from harness.base.redact import MASK, register
from harness.environment.record import EnvironmentRecord
from harness.notebook.render import render
from harness.proving.environment import SessionEnvironment
from harness.proving.options import PROOFS, refusal
from harness.proving.plugin import redact_report
from tests.fakes import toylab
from tests.fakes.toylab import toy

ACCESS = SessionEnvironment.access
new_notebook: Any = nbformat.v4.new_notebook
new_code: Any = nbformat.v4.new_code_cell
writes: Any = nbformat.writes


def option(**values: Any) -> Any:
    return SimpleNamespace(**{"lab_env": "test", **values})


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"lab_env": "lab"}, "learner's environment"),
        ({"nbval": True}, "use --nbval-lax"),
        ({"nbval_lax": True, "numprocesses": 2}, "leave -n out"),
        ({"nbval_lax": True, "nbval_kernel_name": "ruby"}, "leave it out"),
        ({"nbval_lax": True, "numprocesses": None, "nbval_kernel_name": None}, ""),
        ({"numprocesses": 2}, ""),
    ],
)
def test_options_that_contradict_themselves_are_refused(
    given: dict[str, Any], complaint: str
) -> None:
    found = refusal(option(**given))
    assert complaint in found
    assert bool(found) == bool(complaint)


def test_a_refusal_ends_the_run_before_anything_is_collected(toy_run: Any) -> None:
    result = toy_run("--lab-env", "lab")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*learner's environment*"])


def test_the_steps_of_all_labs_become_tests_that_stop_at_the_first_failure(
    toy_run: Any, pytester: pytest.Pytester
) -> None:
    # A copy, because pytest would load the conftest.py of the checkout beside that of the test.
    pytester.makepyfile(test_labs=PROOFS.read_text())
    passed = toy_run("test_labs.py", "--lab-only", "90", "-v")
    passed.assert_outcomes(passed=5)
    passed.stdout.fnmatch_lines(
        [
            "*test_step?90.1-put_book?*",
            "*test_step?90.2-look?*",
            "*test_step?90.3-put_letter?*",
            "*test_step?90.3-put_letter-undone?*",
            "*test_step?90.1-put_book-undone?*",
        ]
    )
    (pytester.path / "shelf" / "book").mkdir()
    failed = toy_run("test_labs.py", "-rs", "--lab-only", "90")
    failed.assert_outcomes(failed=1, skipped=4)
    failed.stdout.fnmatch_lines(["*step 90.1 of this lab failed*"])


def test_a_lab_that_is_not_there_cannot_be_proved(toy_run: Any) -> None:
    result = toy_run("--lab-only", "42")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--lab-only: there is no lab*42*"])


def test_an_environment_that_cannot_be_had_is_tried_once_and_told_shortly(
    toy_run: Any, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def up(self: SessionEnvironment, needs: tuple[str, ...]) -> None:
        tried.append(needs)
        raise EnvironmentLacks("there is no engine", hint="start one")

    monkeypatch.setattr(SessionEnvironment, "access", ACCESS)
    monkeypatch.setattr(SessionEnvironment, "_up", up)
    source = "import pytest\n" + "".join(
        f"@pytest.mark.live\ndef test_{n}(environment): pass\n" for n in (1, 2)
    )
    pytester.makepyfile(test_two=source)
    result = toy_run("-m", "live")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["there is no engine", "  try:   start one"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert tried == [()]


def test_what_a_lab_needs_is_installed_when_it_is_first_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, ...]] = []
    removed: list[str] = []

    class Environment:
        brought = None

        def __init__(self, name: str) -> None:
            self.name = name
            self.record: EnvironmentRecord | None = None

        def up(self, options: Any, progress: object) -> Any:
            asked.append(options.needs)
            # An environment may have got more than this run asked for.
            self.record = EnvironmentRecord("vault", 1, "auto", ("csi", *options.needs))
            return toylab.access(tmp_path)

        def down(self) -> None:
            removed.append(self.name)

    monkeypatch.setattr("harness.environment.environment.Environment", Environment)
    values = {
        "lab_supply": "auto",
        "lab_vault": None,
        "lab_kubernetes": None,
        "lab_kubeconfig": None,
        "lab_fresh": False,
        "lab_keep": False,
    }
    config: Any = SimpleNamespace(
        option=option(**values), pluginmanager=SimpleNamespace(getplugin=lambda name: None)
    )
    session_environment = SessionEnvironment(config)
    for needs in ((), ("csi",), (), ("operator",), ("csi", "operator")):
        session_environment.access(needs)
    assert asked == [(), ("operator",)]
    session_environment.close()
    assert removed == ["test"]


@pytest.mark.parametrize(("existed", "keep"), [(True, False), (False, True)])
def test_an_environment_stays_that_was_there_before_or_is_to_be_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, existed: bool, keep: bool
) -> None:
    class Environment:
        brought = None

        def __init__(self, name: str) -> None:
            self.record = EnvironmentRecord("vault", 1, "auto") if existed else None

        def up(self, options: Any, progress: object) -> Any:
            self.record = EnvironmentRecord("vault", 1, "auto")
            return toylab.access(tmp_path)

        def down(self) -> None:
            raise AssertionError("it must stay")

    monkeypatch.setattr("harness.environment.environment.Environment", Environment)
    values = {
        "lab_supply": "auto",
        "lab_vault": None,
        "lab_kubernetes": None,
        "lab_kubeconfig": None,
        "lab_fresh": False,
        "lab_keep": keep,
    }
    config: Any = SimpleNamespace(
        option=option(**values), pluginmanager=SimpleNamespace(getplugin=lambda name: None)
    )
    session_environment = SessionEnvironment(config)
    session_environment.access()
    session_environment.close()


def test_live_tests_are_left_out_unless_asked_for(pytestconfig: pytest.Config) -> None:
    given = pytestconfig.getini("addopts")
    assert given[given.index("-m") + 1] == "not live"


def test_a_notebook_runs_in_the_environment_of_the_run_from_a_clean_start(
    toy_run: Any, pytester: pytest.Pytester
) -> None:
    # nbval waits five seconds for output: a cell that is quiet for longer must pass too.
    write_notebook(pytester, before_check="import threading; threading.Event().wait(6)")
    (pytester.path / "shelf").mkdir()
    (pytester.path / "shelf" / "old").write_text("left by an earlier run")
    result = toy_run("--nbval-lax", "--lab-env", "test", "-v")
    result.assert_outcomes(passed=8)
    assert {file.name for file in (pytester.path / "shelf").iterdir()} == {"book", "letter"}
    result.stdout.fnmatch_lines(["*closed*"])
    progress = json.loads((pytester.path / "labs" / "90" / "progress.json").read_text())
    assert {name: entry["state"] for name, entry in progress.items()} == dict.fromkeys(
        ("put_book", "look", "put_letter"), "checked"
    )


def test_a_notebook_stops_at_its_first_failed_cell(toy_run: Any, pytester: pytest.Pytester) -> None:
    write_notebook(pytester, before_check='(toylab.shelf(lab) / "book").unlink()')
    result = toy_run("--nbval-lax", "--lab-env", "test", "-rs")
    result.assert_outcomes(passed=4, failed=1, skipped=3)
    result.stdout.fnmatch_lines(["*not yet true: there is a book on the shelf*"])
    result.stdout.fnmatch_lines(["*Cell 4 of this notebook failed*"])


def test_exercises_are_not_run(toy_run: Any) -> None:
    unsolved = str(CHECKOUT / "notebooks" / "exercises")
    result = toy_run("--nbval-lax", "--lab-env", "test", unsolved)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_project_that_has_nothing_to_do_with_labs_is_left_alone(
    toy_run: Any, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        """
        import os

        import pytest

        @pytest.mark.last
        def test_first_as_it_stands(): pass

        def test_second(pytestconfig):
            assert not pytestconfig.option.nbval_current_env
        """
    )
    (pytester.path / toy.notebook).write_text(writes(new_notebook(cells=[])))
    # Comparing outputs is refused for the labs' own notebooks only.
    result = toy_run("--nbval", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_first*PASSED*", "*test_second*PASSED*"])


def test_a_report_is_redacted_and_says_what_leaked() -> None:
    register("leaky-value")
    report = SimpleNamespace(
        sections=[("Captured stdout call", "x leaky-value"), ("Captured log call", "fine")],
        longrepr="assert 'leaky-value' == ''",
    )
    assert redact_report(report) == ["Captured stdout call", "failure message"]
    assert report.sections == [
        ("Captured stdout call", f"x {MASK}"),
        ("Captured log call", "fine"),
    ]
    assert report.longrepr == f"assert '{MASK}' == ''"


def write_notebook(pytester: pytest.Pytester, before_check: str = "") -> None:
    """The toy's notebook as it would be committed, with a cell that installs the toy."""
    notebook = render(toy)
    install = "from tests.fakes import toylab\ntoylab.install()"
    cells = notebook["cells"]
    cells.insert(0, new_code(install, id="install"))
    if before_check:
        cells.insert(
            next(n for n, cell in enumerate(cells) if cell["id"] == "90-1-check"),
            new_code(before_check, id="before"),
        )
    (pytester.path / toy.notebook).write_text(writes(notebook))


@pytest.fixture
def toy_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs pytest with the plugin on the toy, in this process: importing takes seconds."""
    pytester.makeconftest('pytest_plugins = ["harness.proving.plugin"]')
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    for name in ("LAB_ENV", "IPYTHONDIR"):
        monkeypatch.setenv(name, "the run sets it; the original comes back")
    monkeypatch.setenv("TOY_STATE", str(pytester.path))
    toylab.install(monkeypatch.setattr)
    monkeypatch.setattr(
        SessionEnvironment, "access", lambda self, needs=(): toylab.access(pytester.path)
    )
    monkeypatch.setattr(SessionEnvironment, "close", lambda self: print("closed"))
    return pytester.runpytest_inprocess
