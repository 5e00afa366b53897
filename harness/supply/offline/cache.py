"""The offline supply's cache: one folder per recipe and key, trusted only when complete.

    parts/<recipe>/<key>/            a finished entry, with manifest.json written last
    parts/<recipe>/<key>.partial/    an entry in the making, renamed when it is finished
    work/<recipe>/<key>/             what its build goes on with after an interrupt
    logs/<recipe>.log                the output of its last build
    shared/                          downloads and compiler caches of all recipes

A key is a digest of everything the result depends on. An entry whose files are missing or
have another size than the manifest says is not used: it is named and built again. The
cache holds what was made here; it does not fetch and does not know what a part is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.base.paths import cache_root
from harness.base.statefile import file_sha256, write_atomically
from harness.base.wait import wait_for
from harness.supply.offline.recipe import Recipe

MANIFEST = "manifest.json"
KEY_LENGTH = 16
# The present entry and the one before it: going back to yesterday's checkout stays cheap.
KEPT = 2
# Another process may be in the middle of a cold build on a slow machine.
LOCK_SECONDS = 7200.0


def key_of(recipe: Recipe, needed: Mapping[str, str]) -> str:
    """The key of what `recipe` makes from its inputs and the entries with the keys `needed`."""
    facts = [recipe.name, *recipe.inputs(), *(f"{name}={needed[name]}" for name in sorted(needed))]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:KEY_LENGTH]


class Cache:
    """The entries under one folder; several processes may use it at the same time."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root

    @property
    def root(self) -> Path:
        """The folder of the cache (looked up at each call)."""
        return self._root or cache_root()

    @property
    def shared(self) -> Path:
        """The folder for downloads and compiler caches that all recipes use."""
        return self.root / "shared"

    def log(self, recipe: str) -> Path:
        """Where the output of the last build of `recipe` is."""
        return self.root / "logs" / f"{recipe}.log"

    def entry(self, recipe: str, key: str) -> Path:
        """Where the finished entry lies, or will lie."""
        return self.root / "parts" / recipe / key

    def damage(self, recipe: str, key: str, *, deep: bool = False) -> str | None:
        """What is wrong with an entry in one sentence, "" when it is sound, None without one.

        Without `deep` the names and sizes of its files are compared, which takes no
        time; with it also their SHA-256 sums.
        """
        folder = self.entry(recipe, key)
        if not folder.is_dir():
            return None
        try:
            files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
            return _first_difference(folder, files, deep)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"its {MANIFEST} cannot be read ({type(error).__name__})"

    def verify(self, *, deep: bool = True) -> dict[Path, str]:
        """Every entry on disk with what is wrong with it ("" when nothing is)."""
        found: dict[Path, str] = {}
        for folder in sorted((self.root / "parts").glob("*/*")):
            if folder.is_dir() and not folder.name.endswith(".partial"):
                found[folder] = self.damage(folder.parent.name, folder.name, deep=deep) or ""
        return found

    @contextmanager
    def making(self, recipe: str, key: str) -> Iterator[tuple[Path, Path]]:
        """The empty folder for a new entry and its work folder; an entry if nothing is raised.

        Hold `lock` around it. A damaged entry under the same key is replaced. After an
        error the work folder stays, so that the next attempt can go on there.
        """
        entry = self.entry(recipe, key)
        partial = entry.with_name(f"{key}.partial")
        work = self.root / "work" / recipe / key
        # The work of an older key is of no use to anybody.
        for other in _folders(work.parent):
            if other != work:
                shutil.rmtree(other)
        for leftover in _folders(entry.parent):
            if leftover.name.endswith(".partial"):
                shutil.rmtree(leftover)
        partial.mkdir(parents=True)
        work.mkdir(parents=True, exist_ok=True)
        yield partial, work
        manifest = {"recipe": recipe, "key": key, "files": _describe(partial)}
        write_atomically(partial / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        if entry.exists():
            shutil.rmtree(entry)
        partial.rename(entry)
        shutil.rmtree(work, ignore_errors=True)
        self._prune(recipe, key)

    @contextmanager
    def lock(self, recipe: str, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the one lock of `recipe`.

        `waiting` is called once when another process holds the lock. Raises GaveUp after
        two hours.
        """
        file = self.root / "parts" / recipe / ".lock"
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        announced = False

        def held() -> bool:
            nonlocal announced
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not announced:
                    announced = True
                    waiting()
                return False
            return True

        try:
            wait_for(
                f"the other process that builds {recipe}",
                held,
                timeout=LOCK_SECONDS,
                hint="end that process if it hangs, then the same command again",
            )
            yield
        finally:
            os.close(handle)

    def _prune(self, recipe: str, key: str) -> None:
        """Keep the entry of `key` and the newest others, KEPT in all."""
        others = [
            folder for folder in _folders(self.entry(recipe, key).parent) if folder.name != key
        ]
        others.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in others[KEPT - 1 :]:
            shutil.rmtree(folder)


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []


def _describe(folder: Path) -> dict[str, Any]:
    """Every file and symbolic link under `folder`: size and SHA-256 sum, or target."""
    return {
        str(path.relative_to(folder)): facts_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def facts_of(path: Path) -> dict[str, Any]:
    """What a manifest has for a file: size and SHA-256 sum, or the target of a link."""
    if path.is_symlink():
        return {"link": str(path.readlink())}
    return {"size": path.stat().st_size, "sha256": file_sha256(path)}


def recorded_sum(entry: Path, path: Path) -> str:
    """The SHA-256 sum that the manifest of `entry` has for a file in it (or a link to one)."""
    files = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))["files"]
    return str(files[str(path.resolve().relative_to(entry.resolve()))]["sha256"])


def _first_difference(folder: Path, files: Mapping[str, Any], deep: bool) -> str:
    for name, facts in files.items():
        path = folder / name
        if "link" in facts:
            if not path.is_symlink() or str(path.readlink()) != facts["link"]:
                return f"{name} is not the link it was"
        elif not path.is_file():
            return f"{name} is missing"
        elif path.stat().st_size != facts["size"]:
            return f"{name} has {path.stat().st_size} bytes instead of {facts['size']}"
        elif deep and file_sha256(path) != facts["sha256"]:
            return f"{name} has another SHA-256 sum than when it was built"
    return ""
