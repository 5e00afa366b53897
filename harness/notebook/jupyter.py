"""JupyterLab for one environment: on 127.0.0.1, behind a random token, at the right notebook.

Beside the notebook is a terminal with the shell of the lab (harness.notebook.workspace).

The learner works on copies in the environment's state folder, so that the committed
notebooks never change and a copy with work in it is never overwritten. Jupyter's own
configuration, data and history go to the state folder too: a person's are neither read
nor written. Nothing is fetched from anywhere: news, update checks and the extension
catalogue are off.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from harness.base.errors import EnvironmentLacks, LabError
from harness.base.paths import CHECKOUT, state_root
from harness.base.process import end_group
from harness.base.redact import Secret, redact
from harness.base.statefile import file_sha256, read_json, write_json
from harness.base.wait import wait_for
from harness.lab.access import Access
from harness.lab.catalog import all_labs
from harness.lab.steps import Lab
from harness.notebook import workspace
from harness.notebook.render import EXERCISES, picture_path
from harness.notebook.render import notebooks_of as originals_of

ADDRESS = "127.0.0.1"
START_SECONDS = 120.0
LOG_TAIL = 15
TOKEN_BYTES = 24

# Extensions of JupyterLab that would ask servers on the internet, or offer to.
_SILENCED = (
    "@jupyterlab/apputils-extension:announcements",
    "@jupyterlab/extensionmanager-extension",
)


@dataclass(frozen=True)
class Server:
    """A running JupyterLab. `url` opens the notebook and holds the token: show it once.

    `base` is where the server is, without the token.
    """

    process: subprocess.Popen[str]
    base: str
    url: str
    log: Path

    def stop(self) -> None:
        """End the server and its kernels."""
        end_group(self.process)


def serve(
    access: Access, lab: Lab, *, exercise: bool = False, port: int = 8888, browser: bool = False
) -> None:
    """Run JupyterLab until it ends or Ctrl-C; print its address to standard output.

    `port` is tried first, then the next free ones. Raises EnvironmentLacks when it does
    not start, with the last lines it logged.
    """
    # A closed terminal or a `kill` must end JupyterLab as Ctrl-C does: it has a session of
    # its own and would live on.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    server = start(access, lab, exercise=exercise, port=port)
    try:
        print(server.url, flush=True)
        print("Ctrl-C ends it; your notebooks are kept.", file=sys.stderr)
        if browser:
            webbrowser.open(server.url)
        server.process.wait()
    except KeyboardInterrupt:
        print("\nJupyterLab ended; your notebooks are kept.", file=sys.stderr)
        return
    finally:
        server.stop()
    raise LabError(
        f"JupyterLab ended by itself\n{_tail(server.log)}",
        where=str(server.log),
        hint="./lab learn",
    )


def start(access: Access, lab: Lab, *, exercise: bool = False, port: int = 8888) -> Server:
    """Start JupyterLab with the lab's notebook open; return when it answers."""
    folder = access.state / "jupyter"
    token = Secret(secrets.token_urlsafe(TOKEN_BYTES))
    notebooks_of(access.state).mkdir(parents=True, exist_ok=True, mode=0o700)
    for note in copy_notebooks(access.state):
        print(note, file=sys.stderr)
    path = f"{EXERCISES}/{lab.notebook}" if exercise else lab.notebook
    shell = workspace.shell_command(lab.number, access.name)
    _configure(folder, settings(notebooks_of(access.state), token, port, shell))
    workspace.write(_workspaces(folder), path)
    log = folder / "jupyter.log"
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab"],
            env=_environment(folder, access.name),
            cwd=notebooks_of(access.state),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            # Ctrl-C must reach this process alone: JupyterLab would ask back.
            start_new_session=True,
        )
    try:
        base = _wait_until_it_answers(process, folder, token, log)
    except BaseException:
        end_group(process)
        raise
    return Server(process, base, f"{base}lab/tree/{path}?token={token}", log)


def notebooks_of(state: Path) -> Path:
    """Where a learner's copies are."""
    return state / "notebooks"


def copy_notebooks(state: Path, source: Path | None = None) -> list[str]:
    """Copy every lab's notebooks and picture for the learner; return sentences about what was not.

    A copy that nobody has saved since is replaced when the original changed; a copy with
    work in it stays as it is. They come from `source`, or from where each lab's are.
    """
    target = notebooks_of(state)
    record_file = state / "notebooks.json"
    record = read_json(record_file)
    notes = []
    for lab in all_labs():
        for path in (Path(lab.notebook), Path(EXERCISES, lab.notebook), picture_path(lab)):
            original, copy = (source or originals_of(lab)) / path, target / path
            if not original.is_file():
                continue
            wanted = file_sha256(original)
            known = record.get(str(path))
            if copy.exists() and known == wanted:
                continue
            if copy.exists() and file_sha256(copy) not in (known, wanted):
                notes.append(f"{path} has your work in it and stays, though the lab has changed")
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original, copy)
            record[str(path)] = wanted
    write_json(record_file, record)
    return notes


def settings(root: Path, token: str, port: int, shell: list[str]) -> dict[str, Any]:
    """The server's configuration (jupyter_server and JupyterLab configuration options)."""
    return {
        "ServerApp": {
            "ip": ADDRESS,
            "port": port,
            "port_retries": 50,
            "open_browser": False,
            "root_dir": str(root),
            # An engine that lab started belongs to root, and so does the state folder.
            "allow_root": True,
            "terminado_settings": {"shell_command": shell},
        },
        "IdentityProvider": {"token": str(token)},
        "LabApp": {
            "news_url": None,
            "check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate",
            "extension_manager": "readonly",
        },
        "Application": {"log_level": "WARN"},
    }


def _configure(folder: Path, server: dict[str, Any]) -> None:
    """Write the configuration: the token changes with every start."""
    shutil.rmtree(folder / "runtime", ignore_errors=True)
    for name in ("config", "data", "runtime", "ipython"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    write_json(folder / "config" / "jupyter_server_config.json", server)
    # Page configuration is what switches extensions of the browser side off.
    write_json(
        folder / "config" / "labconfig" / "page_config.json",
        {"disabledExtensions": dict.fromkeys(_SILENCED, True)},
    )


def _workspaces(folder: Path) -> Path:
    return folder / "config" / "lab" / "workspaces"


def _environment(folder: Path, name: str) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")}
    path = filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH")))
    # A terminal without a person's own choice is for people: one that edits its lines.
    own.setdefault("SHELL", shutil.which("bash") or "/bin/sh")
    return own | {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "config" / "lab" / "user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(_workspaces(folder)),
        "IPYTHONDIR": str(folder / "ipython"),
        "LAB_ENV": name,
        "LAB_STATE": str(state_root()),
        "PYTHONPATH": os.pathsep.join(path),
    }


def _wait_until_it_answers(
    process: subprocess.Popen[str], folder: Path, token: Secret, log: Path
) -> str:
    """The server's base address, once it answers."""
    record = folder / "runtime" / f"jpserver-{process.pid}.json"
    session = requests.Session()
    session.trust_env = False

    def probe() -> str:
        if process.poll() is not None:
            raise EnvironmentLacks(
                f"JupyterLab did not start\n{_tail(log)}", where=str(log), hint="./lab doctor"
            )
        if not record.exists():
            return ""
        base = str(json.loads(record.read_text(encoding="utf-8"))["url"])
        answer = session.get(
            f"{base}api/status", headers={"Authorization": f"token {token}"}, timeout=5
        )
        return base if answer.ok else ""

    return wait_for(
        "JupyterLab to answer",
        probe,
        timeout=START_SECONDS,
        # The record is written before the server listens, and not in one go.
        transient=(requests.ConnectionError, requests.Timeout, json.JSONDecodeError),
        explain=lambda: _tail(log),
        hint=f"the whole log is in {log}",
    )


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:]
    return redact("\n".join(f"  | {line}" for line in lines))
