"""Facts about processes from /proc: is it still the same one, what is it, what runs below it.

A process id is used again after its process has ended; together with the start time and
the boot it is unique. Linux only (proc(5)).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")


def boot() -> str:
    """The identity of this boot."""
    return (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()


def started(pid: int) -> str:
    """When a live process started, in clock ticks since boot; "" for a dead one."""
    fields = _stat(pid)
    # A zombie is dead; without an init that collects it (in a container) it stays.
    return "" if not fields or fields[0] == "Z" else fields[19]


def program(pid: int) -> str:
    """The name of a live process's program (at most 15 characters), "" for a dead one."""
    if not started(pid):
        return ""
    try:
        return (_PROC / str(pid) / "comm").read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""


def pid_in(file: Path) -> int | None:
    """The process id in a pid file, None when there is no such file or no number in it."""
    try:
        return int(file.read_text("ascii"))
    except (OSError, ValueError):
        return None


def with_words(*words: str) -> set[int]:
    """Processes whose command line holds each of `words` as one argument."""
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            line = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
            if all(word.encode() in line for word in words):
                found.add(pid)
    return found


def below(roots: Iterable[int]) -> dict[int, str]:
    """`roots` and every live process below them, with their start times."""
    parents = {pid: int(fields[1]) for pid in _pids() if (fields := _stat(pid))}
    found = set(roots)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: time for pid in found if (time := started(pid))}


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on, [] for a dead process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", errors="replace")
    except OSError:
        return []
    # The name before them may hold spaces and brackets; what follows its last one does not.
    return text.rpartition(")")[2].split()
