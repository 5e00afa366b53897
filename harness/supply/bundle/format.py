"""The file of a bundle: one zstd archive whose beginning Python's own library can read.

    frame 0        skippable: the sum of the manifest, a line feed, the manifest (JSON)
    wheel frames   skippable, one Python wheel each
    part frames    compressed, one each: a tar of finished parts, or an archive of images

`zstd -d FILE` gives the part frames alone, since a decompressor leaves out skippable frames
(RFC 8878, 3.1.2). Python 3.11 has no zstd: the manifest, the wheels and all sums can be read
without it, and so a machine gets its Python packages from the bundle that it is about to load.
Nothing here writes, and nothing but the standard library is imported.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from harness.base import statefile
from harness.base.errors import UsageError
from harness.base.paths import FILES
from harness.supply import oci

FORMAT = 1
LOCKS = ("bootstrap.lock", "requirements.lock")
WHEEL, PARTS, DOWNLOADS, IMAGES = "wheel", "parts", "downloads", "images"
CHUNK = 1 << 20
# A skippable frame: its magic number and the size of its content.
_HEAD = struct.Struct("<II")
_MAGIC = 0x184D2A50
_LARGEST_MANIFEST = 16 << 20
_SUM = re.compile(r"[0-9a-f]{64}")
_WHEEL_NAME = re.compile(r"[A-Za-z0-9_.+!-]+\.whl")
_AGAIN = "copy it once more, or make it anew: ./lab bundle save FILE"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Record:
    """One frame of the file: where its content belongs, its size and sum as it lies there.

    `files` are the facts of what is in a tar (harness.supply.offline.cache), by the path below
    the folder that `kind` stands for.
    """

    kind: str
    name: str
    size: int
    sha256: str
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about itself. `parts` have name, version, licence, digest, own_use."""

    platform: str
    python: str
    lock: str
    commit: str
    supply: str
    labs: tuple[str, ...]
    parts: tuple[Mapping[str, Any], ...]
    records: tuple[Record, ...] = ()
    format: int = FORMAT
    notice: str = ""

    def encoded(self) -> bytes:
        """The first frame."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True).encode()
        return skippable(len(text) + 65) + hashlib.sha256(text).hexdigest().encode() + b"\n" + text


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest is sound: the file, the manifest, where the other frames begin."""

    file: Path
    manifest: Manifest
    start: int

    def frames(self) -> Iterator[tuple[Record, int]]:
        """Each record with the position of its frame."""
        position = self.start
        for record in self.manifest.records:
            yield record, position
            position += record.size

    def own_use(self) -> list[str]:
        """The parts that may be used but not be handed on."""
        return [str(part["name"]) for part in self.manifest.parts if part.get("own_use")]


def skippable(size: int) -> bytes:
    """The head of a frame of `size` bytes that a decompressor leaves out."""
    return _HEAD.pack(_MAGIC, size)


def here() -> str:
    """This machine's platform, in the words of image manifests."""
    return f"{sys.platform}/{oci.architecture()}"


def python_here() -> str:
    """The release of this Python, which decides what wheels fit."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def lock_sum() -> str:
    """The sum of what the Python packages of this checkout are pinned by."""
    content = b"".join((FILES / name).read_bytes() for name in LOCKS)
    return hashlib.sha256(content).hexdigest()


def read(file: Path) -> Bundle:
    """The bundle in `file`, its manifest and its size checked. Raises UsageError."""
    try:
        with file.open("rb") as stream:
            size = file.stat().st_size
            text = _manifest_text(stream, file)
    except OSError as error:
        raise UsageError(
            f"the bundle cannot be read: {error.strerror or error}", where=str(file)
        ) from error
    try:
        manifest = parse(json.loads(text))
    except (ValueError, TypeError) as error:
        raise _refused(file, f"was written by another version of the labs: {error}") from error
    start = _HEAD.size + 65 + len(text)
    expected = start + sum(record.size for record in manifest.records)
    if size != expected:
        how = "is truncated" if size < expected else "has more in it than it says"
        raise _refused(file, f"{how}: {size} bytes instead of {expected}")
    return Bundle(file, manifest, start)


def check(bundle: Bundle, say: Say) -> None:
    """Compare every frame with its sum, and the platform with this one. Raises UsageError."""
    manifest = bundle.manifest
    if manifest.platform != here():
        raise UsageError(
            f"this bundle is for {manifest.platform}, this machine is {here()}",
            where=str(bundle.file),
            hint="make one on a machine of this kind: ./lab bundle save FILE",
        )
    done, total = 0, sum(record.size for record in manifest.records)
    with bundle.file.open("rb") as stream:
        for record, position in bundle.frames():
            sum_ = hashlib.sha256()
            for chunk in content(stream, position, record.size):
                sum_.update(chunk)
                done += len(chunk)
                say(f"checking, {done / 1e6:.0f} of {total / 1e6:.0f} MB")
            if sum_.hexdigest() != record.sha256:
                raise _refused(bundle.file, f"was altered: {record.name} has another SHA-256 sum")


def content(stream: IO[bytes], position: int, size: int) -> Iterator[bytes]:
    """`size` bytes from `position` on, in pieces; fewer where the file ends before."""
    stream.seek(position)
    while size and (chunk := stream.read(min(CHUNK, size))):
        size -= len(chunk)
        yield chunk


def wheel(stream: IO[bytes], record: Record, position: int) -> Iterator[bytes]:
    """The content of a wheel's frame."""
    yield from content(stream, position + _HEAD.size, record.size - _HEAD.size)


def _manifest_text(stream: IO[bytes], file: Path) -> bytes:
    head = stream.read(_HEAD.size)
    magic, size = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
    if magic != _MAGIC or not 65 < size <= _LARGEST_MANIFEST:
        raise _refused(file, "is not a bundle of the labs")
    text = stream.read(size)
    if len(text) != size:
        raise _refused(file, "is truncated: its manifest is not whole")
    if text[:65] != hashlib.sha256(text[65:]).hexdigest().encode() + b"\n":
        raise _refused(file, "was altered: its manifest has another SHA-256 sum")
    return text[65:]


def is_sum(text: str) -> bool:
    """Whether this is a SHA-256 sum in hexadecimal digits."""
    return bool(_SUM.fullmatch(text))


def parse(stored: Any) -> Manifest:
    """The manifest in a JSON value; raises ValueError naming the first thing that is wrong."""
    if statefile.field(stored, "format", int) != FORMAT:
        raise ValueError(f"its format is {stored['format']}, here it is {FORMAT}")

    def text(name: str) -> str:
        return statefile.field(stored, name, str)

    return Manifest(
        platform=text("platform"),
        python=text("python"),
        lock=text("lock"),
        commit=text("commit"),
        supply=text("supply"),
        notice=text("notice"),
        labs=tuple(map(str, statefile.field(stored, "labs", list))),
        parts=tuple(statefile.field(stored, "parts", list)),
        records=tuple(map(_record, statefile.field(stored, "records", list))),
    )


def _record(stored: Any) -> Record:
    record = Record(
        kind=statefile.field(stored, "kind", str),
        name=statefile.field(stored, "name", str),
        size=statefile.field(stored, "size", int),
        sha256=statefile.field(stored, "sha256", str),
        files=statefile.field(stored, "files", dict),
    )
    if record.kind not in (WHEEL, PARTS, DOWNLOADS, IMAGES):
        raise ValueError(f"there is a {record.kind!r} in it")
    if record.size <= _HEAD.size or not is_sum(record.sha256):
        raise ValueError(f"{record.name} has no size or no sum")
    if record.kind == WHEEL and not _WHEEL_NAME.fullmatch(record.name):
        raise ValueError(f"{record.name!r} does not name a wheel")
    for name, facts in record.files.items():
        _require_inside(name, facts)
    return record


def _require_inside(name: str, facts: Any) -> None:
    """Raise ValueError for a path or a link that leaves its folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or len(path.parts) < 2:
        raise ValueError(f"{name!r} would lie elsewhere")
    if "link" in facts:
        # Links of the parts are other names in the same folder.
        target = statefile.field(facts, "link", str)
        if "/" in target or target in ("", ".", ".."):
            raise ValueError(f"the link {name!r} leads elsewhere")
    else:
        statefile.field(facts, "size", int)


def _refused(file: Path, how: str) -> UsageError:
    return UsageError(f"this file {how}", where=str(file), hint=_AGAIN)
