"""The wheels of the locks, for the platform and the Python of this machine.

They are fetched once into the cache, where the `lab` script finds them as well: a second clone
installs from there, and a bundle is made without a network. A list of their names, written
last, says that all are there.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from harness.base import process, statefile
from harness.base.paths import FILES
from harness.supply import libraries, oci
from harness.supply.bundle import format as form
from harness.supply.bundle.front import wheels_folder

SECONDS = 1200.0


def list_of(lock: str, python: str) -> Path:
    """The file that names the wheels of a lock (its sum) for a release of Python."""
    return wheels_folder() / f"{lock[:16]}-{python}.json"


def known() -> list[Path]:
    """The wheels of this checkout's locks, where all of them are in the cache; else none."""
    stored = statefile.read_json(list_of(form.lock_sum(), form.python_here()))
    files = [wheels_folder() / name for name in stored.get("wheels", [])]
    return files if all(file.is_file() for file in files) else []


def ensure() -> list[Path]:
    """The same, fetched first where they are missing. Raises LabError when pip cannot."""
    if found := known():
        return found
    folder = wheels_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for_linux = sys.platform == "linux"
    command = (
        libraries.pip("download", oci.architecture(), platform.python_version())
        if for_linux
        else [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    )
    names: set[str] = set()
    with statefile.exclusively(folder):
        fresh = folder / ".fetching"
        fresh.mkdir(exist_ok=True)
        for lock in form.LOCKS:
            # What an interrupted run has fetched lies there already, and is not fetched again.
            process.run(
                [*command, "--find-links", folder, "-d", fresh, "-r", lock],
                cwd=FILES,
                timeout=SECONDS,
                hint="a bundle holds the Python packages as well: check that pip can fetch here",
            )
        for file in sorted(fresh.glob("*.whl")):
            names.add(file.name)
            file.replace(folder / file.name)
        fresh.rmdir()
    remember(names, form.lock_sum(), form.python_here())
    return [folder / name for name in sorted(names)]


def remember(names: set[str], lock: str, python: str) -> None:
    """Write down that these are all wheels of that lock."""
    statefile.write_json(list_of(lock, python), {"wheels": sorted(names)})
