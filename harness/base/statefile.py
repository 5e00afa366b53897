"""Files that survive an interrupt: JSON state, atomic writes, locks, SHA-256 sums.

A writer makes a file beside the old one and renames it over: a reader sees the old content
or the new, never a part. Locks lie on folders, so that no lock file stays behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from harness.base.errors import UsageError

T = TypeVar("T")


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`, {} when there is none. Raises UsageError when it is broken."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"a state file cannot be read: {error}",
            where=str(file),
            hint="delete this file; if that does not help: ./lab down, then ./lab up",
        ) from error
    if not isinstance(value, dict):
        raise UsageError("a state file does not hold an object", where=str(file), hint="delete it")
    return value


def read_record(file: Path, parse: Callable[[dict[str, Any]], T], way_out: str) -> T | None:
    """The record in `file`, None when there is none.

    `parse` raises ValueError for what it does not understand. That, or a file that is no JSON,
    becomes a UsageError with the command `way_out` as what to do.
    """
    if not file.exists():
        return None
    try:
        stored = read_json(file)
    except UsageError as error:
        raise UsageError(error.what, where=error.where, hint=way_out) from error
    try:
        return parse(stored)
    except ValueError as error:
        raise UsageError(
            f"this record is broken, or another version of the labs wrote it: {error}",
            where=str(file),
            hint=way_out,
        ) from error


_MISSING: Any = object()


def field(stored: object, name: str, kind: type[T], default: T = _MISSING) -> T:
    """The field of a stored object; raises ValueError when it is missing or of another type."""
    if not isinstance(stored, dict):
        raise ValueError(f"there is a {type(stored).__name__} where an object should be")
    value = stored.get(name, default)
    if value is _MISSING:
        raise ValueError(f"{name} is missing")
    # For Python a bool is an int.
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise ValueError(f"{name} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def write_json(file: Path, value: object) -> None:
    """Replace `file` atomically, readable by its owner only."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(file, json.dumps(value, indent=1, sort_keys=True), mode=0o600)


def write_atomically(file: Path, text: str, mode: int = 0o644) -> None:
    """Replace `file` by `text`, with the permissions `mode`."""
    beside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def exclusively(folder: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the one lock of `folder` against other threads and processes.

    `waiting` is called when another thread or process holds the lock, before the wait. The lock
    lies on the folder itself, so that no lock file stays behind.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def file_sha256(file: Path) -> str:
    """The SHA-256 sum of the content of `file`, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(file: Path) -> str:
    """The same as registries and image layouts write it: `sha256:…`."""
    return f"sha256:{file_sha256(file)}"
