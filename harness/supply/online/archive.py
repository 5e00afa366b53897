"""Taking one program out of a release archive.

Only the named member is read and only its content is taken over: no path, link or mode of
the archive reaches the disk.
"""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from harness.base.errors import EnvironmentLacks

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError)


def extract(archive: Path, member: str, target: Path) -> None:
    """Write the content of `member` of a tar (any compression) or zip archive to `target`.

    Raises EnvironmentLacks when there is no such file in it or it is no archive.
    """
    try:
        # A zip is looked for first: tarfile takes a long look at anything.
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as bundle, bundle.open(member) as source:
                _write(source, target)
            return
        with tarfile.open(archive) as tar:
            content = tar.extractfile(member)
            if content is None:
                raise KeyError(member)
            with content:
                _write(content, target)
    except (*_BROKEN, KeyError) as error:
        known = isinstance(error, KeyError)
        raise EnvironmentLacks(
            f"the release holds no file {member!r}" if known else f"not an archive: {error}",
            where=str(archive),
            hint="its sum is right: the publisher changed the layout, see clusters/versions.toml",
        ) from error


def _write(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file)
