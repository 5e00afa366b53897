"""What the cache holds, which checkout needs it, and freeing what none needs.

Nothing that a process is building is touched. Compilers' caches and downloads of packages are no
parts: no pin needs them, and the next build is minutes longer without them; they go when asked.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base import statefile
from harness.base.paths import FILES, cache_root
from harness.supply.offline.cache import Cache
from harness.supply.pins import Pins

# What a room mirror serves was packed once; what comes from one may be half-way.
BUILD_CACHES = ("shared", "uv", "room", "mirror")
FOR_BUILDS = "makes builds faster"


@dataclass(frozen=True)
class Held:
    """A folder or file of the cache: its size, its last use (a time stamp), who needs it.

    `why` completes "it stays because …"; an empty one says that it can go.
    """

    path: Path
    size: int
    used: float
    why: str

    @property
    def name(self) -> str:
        """The path below the cache."""
        return str(self.path.relative_to(cache_root()))


def survey(pins: list[Pins]) -> list[Held]:
    """Everything in the cache, in the order of its folders."""
    root = cache_root()
    entries = [*sorted((root / "parts").glob("*/*")), *sorted((root / "work").glob("*/*"))]
    found = [_held(folder, _entry(folder, pins)) for folder in entries if folder.is_dir()]
    downloads = sorted((root / "downloads").glob("[!.]*"))
    found += [_held(folder, _download(folder.name, pins)) for folder in downloads]
    found += _wheels(pins)
    for name in BUILD_CACHES:
        found += [_held(path, FOR_BUILDS) for path in sorted((root / name).glob("*"))]
    return found


def free(held: Held) -> bool:
    """Remove it, unless a process works on it at the moment; returns whether it is gone."""
    with _untouched(held.path) as mine:
        if not mine:
            return False
        if held.path.is_dir() and not held.path.is_symlink():
            shutil.rmtree(held.path, onerror=_writable_first)
        else:
            held.path.unlink(missing_ok=True)
    return True


def _entry(folder: Path, pins: list[Pins]) -> str:
    """Why an entry, or the unfinished work on one, stays."""
    name = f"{folder.parent.name}/{folder.name}"
    return _who(pins, lambda one: name in one.entries)


def _download(name: str, pins: list[Pins]) -> str:
    """Why a download stays."""
    return _who(pins, lambda one: name in one.downloads)


def _wheels(pins: list[Pins]) -> Iterator[Held]:
    """The wheels that no lock has any more; all others count as one."""
    folder = cache_root() / "wheels"
    wanted: set[str] = set()
    for listed in folder.glob("*.json"):
        needed = any(one.lock.startswith(listed.name.split("-")[0]) for one in pins)
        if needed:
            wanted |= {listed.name, *statefile.read_json(listed).get("wheels", ())}
    for file in sorted(folder.glob("*")):
        why = "is in a lock" if file.name in wanted or file.name.startswith(".") else ""
        yield _held(file, why)


def _who(pins: list[Pins], needs: Callable[[Pins], bool]) -> str:
    found = [one.checkout for one in pins if needs(one)]
    if not found:
        return ""
    return "this checkout needs it" if FILES in found else f"{found[0]} needs it"


def _held(path: Path, why: str) -> Held:
    return Held(path, _size(path), path.lstat().st_mtime, why)


def _size(path: Path) -> int:
    """The bytes on the disk below `path`; a file with two names counts once."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_blocks * 512
    seen: set[int] = set()
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            status = os.lstat(f"{folder}/{name}")
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                size += status.st_blocks * 512
    return size


@contextmanager
def _untouched(path: Path) -> Iterator[bool]:
    """Hold the lock of an entry's recipe for the block; yields whether it could be had."""
    place = path.relative_to(cache_root()).parts
    if place[0] not in ("parts", "work"):
        yield True
        return
    lock = Cache().root / "parts" / place[1] / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _writable_first(remove: Callable[[str], Any], path: str, _: object) -> None:
    """Go makes its module cache read-only: open the folder, then once more."""
    Path(path).parent.chmod(0o755)
    if Path(path).is_dir():
        Path(path).chmod(0o755)
    remove(path)
