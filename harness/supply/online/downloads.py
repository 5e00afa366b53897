"""Programs for this machine: downloaded, checked against the publisher's sum, installed.

A release file is fetched into a `.partial` file whose name holds the sum it must have, so
that an interrupted download goes on where it stopped and never continues another file.
Only a file with the right sum is unpacked; the program appears under its own name by one
rename. `download.json` beside it says where it came from and what its sum is, which is
how a damaged copy is noticed later. Nothing here decides which version is wanted.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.paths import cache_root
from harness.base.statefile import digest_of, exclusively, write_atomically
from harness.supply.base import Part
from harness.supply.lock import Lock
from harness.supply.online import web
from harness.supply.online.archive import extract
from harness.supply.online.checksums import find_sum

Say = Callable[[str], None]

# A connection that breaks off is resumed; one that brings nothing so often is given up.
TRIES_IN_VAIN = 3
# What must stay free beside the file itself: an archive needs its content's room too.
SPARE_BYTES = 512 << 20
RECORD = "download.json"

_SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_AGAIN = (
    "the same command again goes on where this one stopped; LAB_DOWNLOADS=URL-or-folder "
    "names a copy; --supply offline builds it (Debian or Ubuntu, as root)"
)


@dataclass(frozen=True)
class Host:
    """The kind of machine that a program is for, in the publishers' words."""

    os: str
    arch: str

    @classmethod
    def here(cls) -> Host:
        """This machine. Raises EnvironmentLacks where no release of the parts would run."""
        system, machine = platform.system(), platform.machine()
        try:
            return cls(_SYSTEMS[system], _MACHINES[machine.lower()])
        except KeyError:
            raise EnvironmentLacks(
                f"the programs of the labs are not released for {system} on {machine}",
                where="online supply",
                hint="use Linux or macOS on amd64 or arm64 (on Windows: WSL 2)",
            ) from None


@dataclass(frozen=True)
class Stored:
    """An installed program; `published` is the sum of the release file it came in."""

    path: Path
    url: str
    published: str
    sum: str
    size: int
    changed: int


class Release:
    """The release of one part for one kind of machine: addresses, folder, program name.

    Its charts are releases as well (harness.supply.online.charts): the sum is found elsewhere.
    """

    largest_sum_file = 1 << 20
    mode = 0o755

    def __init__(self, part: Part, host: Host) -> None:
        def fill(key: str) -> str:
            text = part.online.get(key, "")
            return str(text).format(version=part.version, os=host.os, arch=host.arch)

        self.name = f"{part.name} {part.version} {host.os}/{host.arch}"
        self.url = redirected(fill("url"))
        self.checksum = redirected(fill("checksum"))
        self.member = fill("member")
        self.folder = cache_root() / "downloads" / self.name.replace(" ", "-").replace("/", "-")
        self.program = self.folder / (PurePosixPath(self.member).name or part.name)

    def find(self) -> Stored | None:
        """The installed program, or None. Looks at the disk only.

        A program whose size or time of change differs from the record is read again; with
        another sum it counts as not there.
        """
        try:
            record = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
            stored = Stored(path=self.program, **record)
            now = stored.path.stat()
            if now.st_size != stored.size or now.st_mode & self.mode != self.mode:
                return None
            if now.st_mtime_ns != stored.changed and digest_of(stored.path) != stored.sum:
                return None
        except (OSError, ValueError, TypeError):
            # No record, half a record or no program: all of them mean "download it".
            return None
        return stored

    def fetch(self, lock: Lock, say: Say) -> Stored:
        """Install the program and return it; at once when it is there.

        `say` hears how far it is and may raise to stop the work. Raises EnvironmentLacks
        when the file cannot be had, UsageError when it is not what its publisher or the
        lock says.
        """
        with _disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with exclusively(self.folder, lambda: say("another lab process downloads it: waiting")):
                stored = self.find() or self._download(lock, say)
        lock.record(self.name, stored.published, stored.url)
        return stored

    def _download(self, lock: Lock, say: Say) -> Stored:
        say("reading the publisher's checksum")
        published = self._published()
        lock.check(self.name, published, self.url)
        partial = self.folder / f"{published.removeprefix('sha256:')[:16]}.partial"
        for other in self.folder.iterdir():
            if other != partial:
                other.unlink()
        _complete(self.url, partial, published, say)
        say("installing")
        return self._install(partial, published)

    def _published(self) -> str:
        """The sum that the publisher's checksum file gives for the release file."""
        text = b""
        try:
            with web.open_file(self.checksum) as body:
                for chunk in body.chunks:
                    text += chunk
                    if len(text) > self.largest_sum_file:
                        break
        except web.BROKEN as error:
            raise EnvironmentLacks(
                f"{urlsplit(self.checksum).netloc} does not give the checksum of {self.name}:"
                f" {web.reason(error)}",
                where=self.checksum,
                hint=_AGAIN,
            ) from error
        return f"sha256:{self.find_sum(text.decode('utf-8', errors='replace'))}"

    def find_sum(self, text: str) -> str:
        """The release file's SHA-256 in the text of the checksum file. Raises UsageError."""
        name = PurePosixPath(urlsplit(self.url).path).name
        found = find_sum(text, name)
        if found is None:
            raise UsageError(
                f"the checksum file of {self.name} has no SHA-256 for {name}",
                where=self.checksum,
                hint="a proxy's login page, or a moved file: look at the address in a browser",
            )
        return found

    def _install(self, partial: Path, published: str) -> Stored:
        beside = self.folder / f"{self.program.name}.new"
        try:
            if self.member:
                extract(partial, self.member, beside)
            else:
                partial.replace(beside)
            beside.chmod(self.mode)
            digest, status = digest_of(beside), beside.stat()
            stored = Stored(
                self.program, self.url, published, digest, status.st_size, status.st_mtime_ns
            )
            record = {key: value for key, value in asdict(stored).items() if key != "path"}
            # The record first: without its program it means nothing.
            write_atomically(self.folder / RECORD, json.dumps(record, indent=2) + "\n")
            beside.replace(self.program)
        finally:
            beside.unlink(missing_ok=True)
            partial.unlink(missing_ok=True)
        return stored


def redirected(url: str) -> str:
    """`url`, or its path under LAB_DOWNLOADS (an http(s) URL or a folder) when that is set."""
    base = os.environ.get("LAB_DOWNLOADS", "").strip().rstrip("/")
    path = urlsplit(url).path
    if not base or not path:
        return url
    if base.startswith(("http://", "https://")):
        return base + path
    if "://" in base or not Path(base).expanduser().is_dir():
        raise UsageError(
            f"LAB_DOWNLOADS={base} is neither an http(s) address nor a folder",
            where="environment variable LAB_DOWNLOADS",
            hint=f"name a folder that holds {path.lstrip('/')}, or unset it",
        )
    return str(Path(base).expanduser().resolve()) + path


def _complete(url: str, partial: Path, published: str, say: Say) -> None:
    """Fill `partial` until its sum is `published`, from what is there or from the start."""
    resumed = partial.exists()
    if not (resumed and digest_of(partial) == published):
        _bring(url, partial, say)
    while (got := digest_of(partial)) != published:
        partial.unlink()
        if not resumed:
            raise UsageError(
                f"the download is not what its publisher says: sum {got}, not {published}",
                where=url,
                hint="it was deleted; if it happens again, a proxy or a mirror changes files",
            )
        # What an earlier run left may be at fault: once more, from the start.
        resumed = False
        say("the resumed file is wrong, starting afresh")
        _bring(url, partial, say)


def _bring(url: str, partial: Path, say: Say) -> None:
    """Append to `partial` what it lacks of the file at `url`, over broken connections."""
    in_vain = 0
    while True:
        before = _size(partial)
        try:
            with web.open_file(url, before) as body:
                _require_room(partial.parent, body.size - body.start)
                done = _append(body, partial, say)
            if body.size in (0, done):
                return
            broken = "the connection broke off"
        except web.BROKEN as error:
            broken = web.reason(error)
        in_vain = 0 if _size(partial) > before else in_vain + 1
        if in_vain >= TRIES_IN_VAIN:
            raise EnvironmentLacks(
                f"{urlsplit(url).netloc} does not give the file: {broken}", where=url, hint=_AGAIN
            )
        say(f"{broken}, trying again")


def _append(body: web.Body, partial: Path, say: Say) -> int:
    """Write what `body` brings into `partial`; the size of `partial` afterwards."""
    done = body.start
    partial.touch()
    with partial.open("r+b") as file:
        file.seek(done)
        file.truncate()
        for chunk in body.chunks:
            file.write(chunk)
            done += len(chunk)
            total = f" of {body.size / 1e6:.1f}" if body.size else ""
            say(f"downloading, {done / 1e6:.1f}{total} MB")
    return done


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size + SPARE_BYTES > free:
        raise EnvironmentLacks(
            f"too little free disk for a download: {free / 1e6:.0f} MB of"
            f" {(size + SPARE_BYTES) / 1e6:.0f} MB",
            where=str(folder),
            hint="free some space, or set XDG_CACHE_HOME to a folder on another disk",
        )


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full or unwritable disk into a sentence; leave no half file on a full one."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full:
            for leftover in (*folder.glob("*.partial"), *folder.glob("*.new")):
                leftover.unlink(missing_ok=True)
        raise EnvironmentLacks(
            "the disk is full" if full else f"the cache cannot be written: {error.strerror}",
            where=str(folder),
            hint="free some space, or set XDG_CACHE_HOME to a folder on another disk",
        ) from error
