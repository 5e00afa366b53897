"""The Python libraries of the images built here, at the versions and hashes of requirements.lock.

pip runs on this machine, where its configuration and certificates hold, and fetches
wheels for the Python of Debian bookworm; the image needs neither pip nor a network.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from harness.base import process
from harness.base.errors import UsageError
from harness.base.paths import FILES, clusters

# The Python of the Debian release that the app image is made of.
PYTHON = "3.11"
_WHEEL_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# glibc of bookworm is 2.36; these are the tags below it under which wheels are published.
_WHEEL_TAGS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


def list_file() -> Path:
    """The committed list of names for the app image."""
    return clusters() / "online" / "app" / "libraries.txt"


def wanted(listed: Path | None = None) -> str:
    """The lock's entries for every library named in `listed` (default: the app image's)."""
    lines = (listed or list_file()).read_text(encoding="utf-8").splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return requirements((FILES / "requirements.lock").read_text(encoding="utf-8"), names)


def requirements(lock: str, names: list[str]) -> str:
    """The entries of `names` in the text of a pip lock file, with their hashes.

    Raises UsageError when one of them is not in it.
    """
    entries = {
        match["name"].lower(): match[0]
        for match in re.finditer(r"^(?P<name>[A-Za-z0-9._-]+)==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    }
    missing = [name for name in names if name not in entries]
    if missing:
        raise UsageError(
            f"requirements.lock has no {', '.join(missing)}",
            where="requirements.lock",
            hint="git checkout requirements.lock",
        )
    return "".join(entries[name] for name in names)


def fetch(site: Path, architecture: str, listed: Path | None = None) -> None:
    """Unpack the libraries' wheels for a Linux of `architecture` (Go's name) into `site`.

    `listed` is the file that names them (default: the app image's).
    """
    lock = site.with_name("requirements.txt")
    lock.write_text(wanted(listed), encoding="utf-8")
    shutil.rmtree(site, ignore_errors=True)
    process.run(
        [*pip("install", architecture), "--no-compile", "--target", site, "-r", lock],
        timeout=600,
        hint="check that pip can install packages here",
    )
    # Scripts with this machine's interpreter in their first line.
    shutil.rmtree(site / "bin", ignore_errors=True)


def pip(command: str, architecture: str, python: str = PYTHON) -> list[str | Path]:
    """pip for wheels that run on a Linux of `architecture`, each held to its hash.

    `python` is the release of the Python that they are for.
    """
    machine = _WHEEL_MACHINES.get(architecture, architecture)
    return [
        *(sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--require-hashes"),
        *(f"--python-version={python}", "--implementation=cp"),
        *(f"--platform={tag}_{machine}" for tag in _WHEEL_TAGS),
    ]
