"""Folders of files into one compressed frame, and out of it again.

A frame is a tar of regular files and of links to files beside them, nothing else. Parts of one
frame share what is equal in them: the window is long enough for the program of a part to be
found again in the image that was made of it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import zstandard

from harness.base.errors import UsageError
from harness.supply.bundle import format as form

# Half a gigabyte: as far apart as a program and the image made of it lie.
WINDOW_LOG = 29
LEVEL = 3

Say = Callable[[str], None]


def compressor() -> zstandard.ZstdCompressor:
    """What writes frames: on all processors, with a sum of its own in each frame."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, window_log=WINDOW_LOG, enable_ldm=True, threads=-1, write_checksum=True
    )
    return zstandard.ZstdCompressor(compression_params=parameters)


def write_files(target: Path, root: Path, names: Iterable[str], say: Say) -> None:
    """The files `names` below `root` as one frame; `say` may raise to stop the work."""
    with (
        target.open("wb") as file,
        compressor().stream_writer(file, closefd=False) as stream,
        tarfile.open(mode="w|", fileobj=stream) as archive,
    ):
        for name in names:
            path = root / name
            entry = archive.gettarinfo(path, name)
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            if not entry.isreg():
                archive.addfile(entry)
                continue
            # A second hard link to a file would become a reference to the first one.
            entry.type, entry.size = tarfile.REGTYPE, path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(entry, _Told(content, entry.size, say))


def write_stream(target: Path, chunks: Iterable[bytes], say: Say) -> None:
    """What `chunks` bring as one frame."""
    done = 0
    with target.open("wb") as file, compressor().stream_writer(file, closefd=False) as stream:
        for chunk in chunks:
            stream.write(chunk)
            done += len(chunk)
            say(f"packing, {done / 1e6:.0f} MB")


def read_stream(file: Path, position: int, size: int) -> Iterator[bytes]:
    """The content of the frame at `position`, in pieces."""
    with file.open("rb") as stream, _opened(stream, position, size) as content:
        while chunk := content.read(form.CHUNK):
            yield chunk


def read_files(
    bundle: form.Bundle,
    record: form.Record,
    position: int,
    place: Callable[[str], Path | None],
    say: Say,
) -> None:
    """Unpack a frame: `place` says where a file goes, None leaves it out.

    Only what the record lists is written, as the kind that it lists, and all of it must come.
    Raises UsageError otherwise.
    """
    open_names = dict(record.files)
    done = 0
    try:
        with (
            bundle.file.open("rb") as file,
            _opened(file, position, record.size) as stream,
            tarfile.open(mode="r|", fileobj=stream) as archive,
        ):
            for entry in archive:
                facts = open_names.pop(entry.name, None)
                if facts is None or not _is_as_listed(entry, facts):
                    raise _wrong(bundle, f"{entry.name} is not in its list")
                target = place(entry.name)
                if target:
                    _write(archive, entry, target)
                done += entry.size
                say(f"unpacking, {done / 1e6:.0f} MB")
    except (tarfile.TarError, zstandard.ZstdError) as error:
        raise _wrong(bundle, f"{record.name}: {error}") from error
    if open_names:
        raise _wrong(bundle, f"{next(iter(open_names))} is missing in it")


class _Told:
    """A file that tells how much of it has been read."""

    def __init__(self, file: IO[bytes], size: int, say: Say) -> None:
        self._file, self._size, self._say, self._done = file, size, say, 0

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self._done += len(chunk)
        self._say(f"packing, {self._done / 1e6:.0f} of {self._size / 1e6:.0f} MB")
        return chunk


class _Part:
    """A frame as a file that ends where the frame ends."""

    def __init__(self, stream: IO[bytes], position: int, size: int) -> None:
        self._stream, self._left = stream, size
        stream.seek(position)

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(chunk)
        return chunk


def _opened(file: IO[bytes], position: int, size: int) -> Any:
    reader = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG)
    part = _Part(file, position, size)
    # Anything with `read` will do, which its types do not say.
    return reader.stream_reader(part, closefd=False)  # type: ignore[arg-type] # see above


def _is_as_listed(entry: tarfile.TarInfo, facts: Mapping[str, Any]) -> bool:
    if "link" in facts:
        return entry.issym() and entry.linkname == facts["link"]
    return entry.isreg() and entry.size == facts["size"]


def _write(archive: tarfile.TarFile, entry: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.issym():
        target.symlink_to(entry.linkname)
        return
    source = archive.extractfile(entry)
    assert source is not None, "a regular file has content"
    with target.open("xb") as file:
        while chunk := source.read(form.CHUNK):
            file.write(chunk)
    target.chmod(0o755 if entry.mode & 0o100 else 0o644)


def _wrong(bundle: form.Bundle, what: str) -> UsageError:
    return UsageError(
        f"the bundle does not hold what it says: {what}",
        where=str(bundle.file),
        hint="make it anew: ./lab bundle save FILE",
    )
