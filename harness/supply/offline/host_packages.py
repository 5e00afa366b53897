"""Debian packages that a recipe needs on this host: looked for, and installed as root.

Only what is missing is installed, without recommended packages, and stays installed.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable

from harness.base import process
from harness.base.errors import EnvironmentLacks
from harness.base.process import CommandFailed
from harness.supply.offline.recipe import Job

# apt's own lock would make the second of two installations fail, not wait.
_lock = threading.Lock()
_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}


def missing(names: Iterable[str]) -> list[str]:
    """Those of the Debian packages `names` that are not installed."""
    return [name for name in names if not _installed(name)]


def ensure(names: Iterable[str], job: Job) -> None:
    """Install what is missing of `names`.

    Raises EnvironmentLacks where this is not Debian or Ubuntu, or not root, or apt fails.
    """
    with _lock:
        wanted = missing(names)
        if not wanted:
            return
        command = f"apt-get install {' '.join(wanted)}"
        if not shutil.which("apt-get") or os.geteuid() != 0:
            raise EnvironmentLacks(
                f"building needs {', '.join(wanted)} on this host", hint=f"as root: {command}"
            )
        job.say(f"installing {', '.join(wanted)} on this host")
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted]
        try:
            try:
                job.run(install, env=_QUIET, timeout=600)
            except CommandFailed:
                # The usual cause: package lists that are missing or old.
                job.run(["apt-get", "update", "-q"], env=_QUIET, timeout=600)
                job.run(install, env=_QUIET, timeout=600)
        except CommandFailed as error:
            raise EnvironmentLacks(
                f"{', '.join(wanted)} could not be installed\n{error.output}",
                where=str(job.log),
                hint=f"as root: apt-get update && {command}",
            ) from error


def _installed(name: str) -> bool:
    try:
        state = process.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", name])
    except CommandFailed:
        return False
    return state.strip() == "installed"
