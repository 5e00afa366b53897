"""Bad input gets one clear sentence and the documented exit code, never a traceback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from harness.base.paths import CHECKOUT
from harness.cli import common
from harness.cli import main as cli
from harness.supply.base import find_part

HELP_SECONDS = 1.0
UP_OF_LAB_01 = """
import sys
import harness.cli.main, harness.environment.environment
from harness import integrations
from harness.lab.catalog import find_lab
for need in find_lab("01").needs:
    integrations.find(need)
print(*sys.modules)
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lab:
    return Lab(tmp_path, monkeypatch, capsys)


class Lab:
    """The command line, with a state folder of the test's own."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.state = folder / "state"
        self._capsys = capsys
        # Nothing listens there: no test of this file may reach an engine.
        nowhere = f"unix://{folder}/no-engine.sock"
        variables = {"LAB_STATE": str(self.state), "DOCKER_HOST": nowhere, "NO_COLOR": "1"}
        for name, value in {**variables, "COLUMNS": "200"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(common.messages, "width", 200)
        # What a signal does is not this process's to change: pytest listens, too.
        monkeypatch.setattr(signal, "signal", lambda *_: None)

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command in this process."""
        self._capsys.readouterr()
        status = cli.main(list(words))
        return subprocess.CompletedProcess(words, status, *self._capsys.readouterr())

    def apart(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command in a process of its own, as a person starts it."""
        return subprocess.run(
            [sys.executable, "-m", "harness.cli", *words],
            cwd=CHECKOUT,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )


def test_help_has_an_order_for_every_command() -> None:
    group = typer.main.get_group(common.app)
    assert sorted(group.commands) == sorted(common.ORDER)


def test_help_answers_at_once(lab: Lab) -> None:
    lab.apart("--help")  # compiled files are there now
    started = time.monotonic()
    result = lab.apart("--help")
    assert result.returncode == 0
    assert "run" in result.stdout
    assert time.monotonic() - started < HELP_SECONDS * _slowness()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("check", "77"), 2, "there is no lab '77'"),
        (("check", "01.99"), 2, "lab 01 has no step '99'"),
        (("check", "01.0"), 2, "lab 01 has no step '0'"),
        (("run", "nonsense"), 2, "there is no lab 'nonsense'"),
        (("run", "01", "--from", "50"), 2, "lab 01 has no step 50"),
        (("run", "01", "--to", "0"), 2, "lab 01 has no step 0"),
        (("run", "01", "--from", "5", "--to", "3"), 2, "step 5 comes after step 3"),
        (("run", "--from", "50"), 2, "lab 05 has no step 50"),
        (("run", "all", "--from", "14"), 2, "choose steps of one lab, not of all"),
        (("run", "all", "--to", "2"), 2, "choose steps of one lab, not of all"),
        (("run", "01.3", "--to", "5"), 2, "01.3 names one step"),
        (("run", "01.99"), 2, "lab 01 has no step '99'"),
        (("reset", "01."), 2, "'01.' names no step"),
        (("check", "01.-1"), 2, "lab 01 has no step '-1'"),
        (("check", "01.3.4"), 2, "lab 01 has no step '3.4'"),
        (("check", "."), 2, "there is no lab ''"),
        (("up", "77"), 2, "there is no lab '77'"),
        (("learn", "--port", "99999"), 2, "less than or equal to 65535"),
        (("learn", "--port", "0"), 2, "greater than or equal to 1"),
        (("up", "--vault-port", "70000"), 2, "less than or equal to 65535"),
        (("up", "--env", "Not A Name"), 2, "cannot name an environment"),
        (("up", "--vault", "consul"), 2, "there is no Vault flavour 'consul'"),
        (("fetch", "77"), 2, "there is no lab '77'"),
        (("fetch", "--vault", "consul"), 2, "there is no Vault flavour 'consul'"),
        (("check", "01"), 3, "environment lab is not up"),
        (("solve", "01.1"), 3, "environment lab is not up"),
        (("env",), 3, "environment lab is not up"),
        (("shell", "--env", "other"), 3, "./lab up --env other"),
        (("nonsense",), 2, "No such command"),
        (("up", "--bogus"), 2, "No such option"),
        (("status", "-o", "xml"), 2, "there is no output format 'xml'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input(lab: Lab, words: tuple[str, ...], code: int, says: str) -> None:
    result = lab(*words)
    assert result.returncode == code, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_process_ends_with_the_code_and_one_sentence(lab: Lab) -> None:
    result = lab.apart("check", "77")
    assert result.returncode == 2
    assert "there is no lab '77'" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_engine_that_does_not_answer_is_named(lab: Lab) -> None:
    result = lab.apart("up")
    assert result.returncode == 3
    assert "Traceback" not in result.stderr
    assert "no-engine.sock" in result.stderr


def test_a_broken_state_file_is_named_and_down_still_works(lab: Lab) -> None:
    folder = lab.state / "lab"
    folder.mkdir(parents=True)
    (folder / "environment.json").write_text("{ broken")
    result = lab("check", "01")
    assert result.returncode == 2
    assert "environment.json" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_state_folder_that_is_a_file(lab: Lab) -> None:
    lab.state.mkdir()
    (lab.state / "lab").write_text("in the way")
    result = lab("up")
    assert result.returncode == 2
    assert "state folder cannot be used" in result.stderr


def test_a_port_in_use_is_named(lab: Lab) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = lab("up", "--vault-port", port)
    assert result.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in result.stderr
    assert "Traceback" not in result.stderr


def test_version_names_the_pinned_parts(lab: Lab) -> None:
    lines = lab("version").stdout.splitlines()
    assert lines[0].startswith("kube-vault-labs ")
    kubernetes, node = find_part("kubernetes"), find_part("node")
    assert f"kubernetes {kubernetes.version} (Apache-2.0)" in lines
    online = node.at("online").version
    assert f"node {node.version}, online {online} (Apache-2.0 and Debian's)" in lines


def test_status_without_an_environment_changes_nothing(lab: Lab) -> None:
    result = lab("status", "-o", "json")
    assert result.returncode == 0
    assert '"up": false' in result.stdout
    assert not lab.state.exists()


def _slowness() -> float:
    """How much slower this machine is at this moment than an idle one."""
    return max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def test_an_environment_that_runs_is_found_without_slow_libraries() -> None:
    """`lab up` answers in two seconds then; each of these takes a quarter of a second."""
    loaded = subprocess.run(
        [sys.executable, "-c", UP_OF_LAB_01],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        check=True,
    ).stdout.split()
    assert "harness.integrations.postgres" in loaded
    assert not {"testcontainers", "IPython", "nbformat", "pytest"} & set(loaded)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("test", "--quick"), "the project's own tests are in its checkout"),
        (("new", "72", "Ours"), "the installed package takes no labs"),
    ],
)
def test_the_installed_package_says_what_it_cannot(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.setattr("harness.base.paths.INSTALLED", True)
    refused = lab(*words)
    assert refused.returncode == 2
    assert sentence in refused.stderr
