"""The program `kind` as pytest-kind starts it: what pytest-kind has no option for.

pytest-kind runs a program by its path and inherits this process's environment, terminal
and process group. So the path that it gets is a script, which changes the folder and the
variables, sends kind's messages to a file and makes kind a process group of its own, which
Ctrl-C can end.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from harness.base import tasks
from harness.base.errors import GaveUp
from harness.base.wait import wait_for

# `kind` may be started in the very moment in which it is ended. Therefore it writes its number
# first and looks for the end then, while `end` does both the other way round: one of them sees
# the other, whatever comes first.
_START = """
import os, sys
number, ended, *command = sys.argv[1:]
os.setsid()
with open(number, "w") as file:
    file.write(str(os.getpid()))
if os.path.exists(ended):
    sys.exit("ended before it had begun")
os.execv(command[0], command)
"""
GRACE_SECONDS = 1.0


class KindProgram:
    """The script in the environment's `folder`, and the end of what it runs."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "kind"
        self._number = folder / "kind.pid"
        self._ended = folder / "kind.ended"

    def write(self, kind: Path, log: Path, folder: Path, variables: Mapping[str, str]) -> Path:
        """Write the script: `kind` in `folder`, with `variables`, its messages in `log`."""
        self.forget()
        exports = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
        words = [sys.executable, "-I", "-S", "-c", _START, self._number, self._ended, kind]
        self.path.write_text(
            "#!/bin/sh\n"
            f"cd {shlex.quote(str(folder))}\n"
            f"{''.join(exports)}"
            # A question: its answer is read, and it takes no time.
            f'case "$1" in get) exec {shlex.quote(str(kind))} "$@" ;; esac\n'
            f'exec {shlex.join(map(str, words))} "$@" >>{shlex.quote(str(log))} 2>&1\n',
            encoding="utf-8",
        )
        self.path.chmod(0o700)
        return self.path

    def end(self) -> None:
        """End a kind that runs, with its children, or that is just about to be started."""
        self._ended.touch()
        # In a task that has ended there is no waiting: then it is ended by force at once.
        with suppress(GaveUp, tasks.Ended):
            wait_for("kind to end", lambda: not self._signal(signal.SIGTERM), timeout=GRACE_SECONDS)
        self._signal(signal.SIGKILL)

    def forget(self) -> None:
        """After kind has ended: its number may soon be another process's."""
        self._number.unlink(missing_ok=True)
        self._ended.unlink(missing_ok=True)

    def _signal(self, number: signal.Signals) -> bool:
        """Signal kind's process group; False when there is none."""
        try:
            os.killpg(int(self._number.read_text(encoding="ascii")), number)
        except (OSError, ValueError):
            return False
        return True
