"""Before a room mirror is joined: its CA is compared with the fingerprint, its packages fetched.

The `lab` script runs this module with the system's Python where there are no Python packages
yet, and installs from the folder that it fills; so nothing but the standard library is imported.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from harness.base import statefile
from harness.base.errors import LabError, UsageError
from harness.supply.bundle import format as form
from harness.supply.bundle import front
from harness.supply.mirror import connection
from harness.supply.mirror.connection import Connection, Say
from harness.supply.mirror.index import (
    CA,
    INDEX,
    REPOSITORY,
    WHEELS,
    Index,
    Joined,
    downloads,
    parse,
    parse_fingerprint,
)


def ask(url: str, fingerprint: str, say: Say) -> tuple[Joined, str, Index]:
    """The mirror at `url`, its CA and its index, when all fits; its wheels are fetched.

    Nothing is joined yet. Raises UsageError for another fingerprint, platform or version of the
    labs, EnvironmentLacks for a mirror that does not answer.
    """
    mirror = Joined(connection.parse_url(url), parse_fingerprint(fingerprint))
    ca = connection.ca_of(mirror.url, CA, mirror.fingerprint)
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / "ca.crt"
        beside.write_text(ca, encoding="ascii")
        asked = Connection(mirror.url, beside)
        index = parse(asked.get(INDEX), mirror.url)
        require_same_machine(index, mirror.url)
        downloads().mkdir(parents=True, exist_ok=True)
        with statefile.exclusively(downloads()):
            _take_wheels(asked, index, say)
    return mirror, ca, index


def other_hint(url: str) -> str:
    """What helps where checkout and mirror are of different versions."""
    return (
        f"GIT_SSL_CAINFO=ca.crt git pull {url}{REPOSITORY} takes the mirror's version, with"
        f" {url}{CA} as ca.crt"
    )


def require_same_machine(index: Index, url: str) -> None:
    """Raise UsageError when the mirror is for another platform or version of the labs."""
    manifest = index.manifest
    if manifest.platform != form.here():
        raise UsageError(
            f"this mirror is for {manifest.platform}, this machine is {form.here()}",
            where=url,
            hint="the labs run without it: ./lab run, with a network",
        )
    if manifest.lock != form.lock_sum():
        raise front.other_version(manifest, url, "its Python packages", other_hint(url))


def _take_wheels(asked: Connection, index: Index, say: Say) -> None:
    """Fetch the wheels that the folder lacks, where they are for this Python."""
    if index.manifest.python != form.python_here():
        return
    folder = front.wheels_folder()
    for record in index.manifest.records:
        target = folder / record.name
        if record.kind != form.WHEEL or target.exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        partial = downloads() / f"{record.sha256}.whl"
        path = WHEELS + record.name
        asked.download(path, record.size, record.sha256, partial, say)
        partial.replace(target)


def main(words: list[str]) -> int:
    """Take the wheels of the mirror that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="lab mirror join")
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--fingerprint", required=True)
    given = parser.parse_args(words)
    try:
        *_, index = ask(given.url, given.fingerprint, lambda doing: None)
        if index.manifest.python != form.python_here():
            print(
                f"the mirror's Python packages are for Python {index.manifest.python}, this is"
                f" {form.python_here()}: they are installed from the package index",
                file=sys.stderr,
            )
    except LabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"the mirror's packages cannot be written: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
