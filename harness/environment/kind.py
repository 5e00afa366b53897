"""The program `kind` as pytest-kind starts it: what pytest-kind has no option for.

pytest-kind runs a program by its path and inherits this process's environment, terminal
and process group. So the path that it gets is a script, which changes the folder and the
variables, sends kind's messages to a file and makes kind a process group of its own, which
Ctrl-C can end.
"""

from __future__ import annotations

import contextvars
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

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
        """End a kind that runs, with its children, or that is just about to be started.

        Returns when none of them runs any more, after twice the grace at the latest.
        """
        self._ended.touch()
        # The number is read once: when kind is gone, `forget` is called while a child still runs.
        group = self._group()
        if group is None:
            return
        # A context of its own: in a task that has ended, there is no waiting.
        for number in (signal.SIGTERM, signal.SIGKILL):
            if contextvars.Context().run(_ended_by, number, group):
                return

    def forget(self) -> None:
        """After kind has ended: its number may soon be another process's."""
        self._number.unlink(missing_ok=True)
        self._ended.unlink(missing_ok=True)

    def _group(self) -> int | None:
        """The number of kind's process group; None when kind was not started."""
        try:
            return int(self._number.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def _ended_by(number: signal.Signals, group: int) -> bool:
    """Signal the process group; True when it is gone within the grace."""

    def gone() -> bool:
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return True
        return False

    with suppress(GaveUp):
        return wait_for("kind to end", gone, timeout=GRACE_SECONDS, every=0.05)
    return False
