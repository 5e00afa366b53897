"""Looking at this machine before it disappoints: engine, disk, memory, kernel, cache, network.

Each finding is "good", "note" (works, but one should know) or "bad" (the labs will not
run), says what was seen and what helps. Looking changes nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from harness.base import tasks
from harness.base.errors import EnvironmentLacks, LabError
from harness.base.paths import cache_root, state_root
from harness.cli import around_engine
from harness.cli.findings import Finding
from harness.controlplane import contract
from harness.supply import choose
from harness.supply.base import SUPPLIES, all_parts, is_past
from harness.supply.engine import capabilities, engine, limits
from harness.supply.mirror import index
from harness.supply.mirror.connection import Connection
from harness.supply.offline.cache import Cache

GIB = 1024**3
# A cold offline build needs room for Go's caches and all images (measured: about 12 GiB).
COLD_DISK_GIB = 14
MEMORY_GIB = 6
# The whole command answers in two seconds; `lab up` asks for longer.
SURVEY_SECONDS = 1.2
# The oldest that kubeadm takes for supported since Kubernetes 1.35 (k8s.io/system-validators). kind
# does not look: what runs on an older one may still work.
OLDEST_KERNEL = (5, 4)

# The steps hold what a person types, and run in that person's own shell.
TYPED_PROGRAMS = ("bash", "curl", "jq")


def examine() -> list[Finding]:
    """Look at everything, side by side; never raises for what it finds."""
    looks = (
        _system,
        _programs,
        _engine,
        _disk,
        _cache,
        _memory,
        _inotify,
        _registries,
        _mirror,
        _state,
        _age,
    )
    work = {look.__name__: partial(_findings, look) for look in looks}
    return [finding for found in tasks.side_by_side(work).values() for finding in found]


def _findings(look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except LabError as error:
        return [Finding("bad", look.__name__.strip("_"), error.what, error.hint)]


def examine_node(image: str) -> list[Finding]:
    """Look for everything in a node image that the harness expects there."""
    if engine.find() is None:
        raise EnvironmentLacks("no container engine answers", hint="./lab up starts one")
    return [
        Finding(
            "good" if observed.met else "bad",
            f"{observed.expected.kind} {observed.expected.name}",
            observed.seen if observed.met else "missing",
            "" if observed.met else f"it is for this: {observed.expected.why}",
        )
        for observed in contract.inspect_image(image)
    ]


def to_data(findings: list[Finding]) -> list[dict[str, Any]]:
    """Plain data for `-o json`."""
    return [asdict(finding) for finding in findings]


def tables(data: list[dict[str, Any]]) -> list[Table]:
    """The same for people."""
    table = Table("", "what", "seen", "what helps")
    marks = {"good": "[green]✓[/]", "note": "[yellow]![/]", "bad": "[red]✗[/]"}
    for finding in data:
        table.add_row(marks[finding["level"]], finding["what"], finding["seen"], finding["help"])
    return [table]


def _system() -> Iterator[Finding]:
    python = platform.python_version()
    yield Finding("good", "python", f"{python} at {sys.executable}")
    release = tuple(int(n) for n in platform.release().split("-")[0].split(".")[:2] if n.isdigit())
    old = platform.system() == "Linux" and release < OLDEST_KERNEL
    yield Finding(
        "note" if old else "good",
        "kernel",
        f"{platform.system()} {platform.release()} {platform.machine()}",
        f"Kubernetes supports Linux {'.'.join(map(str, OLDEST_KERNEL))} or newer" if old else "",
    )


def _programs() -> Iterator[Finding]:
    """What a learner types, and the labs run as typed."""
    missing = [name for name in TYPED_PROGRAMS if shutil.which(name) is None]
    yield Finding(
        "bad" if missing else "good",
        "programs that the labs type",
        f"not there: {', '.join(missing)}" if missing else ", ".join(TYPED_PROGRAMS),
        f"apt-get install {' '.join(missing)}, or your system's way" if missing else "",
    )


def _engine() -> Iterator[Finding]:
    yield from around_engine.context()
    found = engine.find()
    yield from around_engine.proxy(found)
    if found is None:
        could = platform.system() == "Linux" and os.geteuid() == 0
        yield Finding(
            "note" if could else "bad",
            "container engine",
            "none answers",
            "./lab up starts one" if could else engine.GET_ONE,
        )
        return
    capabilities.check(found)
    yield Finding("good", "container engine", str(found))
    yield from around_engine.image_store(found)
    yield from around_engine.mtu()
    yield from around_engine.clock(found)
    yield from around_engine.leftovers()


def _disk() -> Iterator[Finding]:
    folder = cache_root()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / GIB
    low = free < COLD_DISK_GIB
    yield Finding(
        "note" if low else "good",
        "disk for the cache",
        f"{free:.0f} GiB free",
        f"a cold offline build needs {COLD_DISK_GIB} GiB; XDG_CACHE_HOME names another place"
        if low
        else "",
    )


def _cache() -> Iterator[Finding]:
    entries = Cache().verify(deep=False)
    damaged = [folder.parent.name for folder, wrong in entries.items() if wrong]
    yield Finding(
        "note" if damaged else "good",
        "cache",
        f"{len(entries)} built parts" + (f"; damaged: {', '.join(damaged)}" if damaged else ""),
        "./lab up builds them again" if damaged else "",
    )


def _memory() -> Iterator[Finding]:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return
    fields = dict(line.split(":", 1) for line in meminfo.read_text("ascii").splitlines())
    free = int(fields["MemAvailable"].split()[0]) / 1024**2
    low = free < MEMORY_GIB
    yield Finding(
        "note" if low else "good",
        "memory",
        f"{free:.1f} GiB available, {os.cpu_count()} cores",
        f"{MEMORY_GIB} GiB are comfortable" if low else "",
    )


def _inotify() -> Iterator[Finding]:
    instances = limits.inotify_instances()
    if instances is None:
        return
    low = instances < limits.INOTIFY_INSTANCES
    yield Finding(
        "note" if low else "good",
        "inotify",
        f"{instances} instances for each user",
        f"two clusters need more: sudo sysctl -w"
        f" fs.inotify.max_user_instances={limits.INOTIFY_INSTANCES}"
        if low
        else "",
    )


def _registries() -> Iterator[Finding]:
    names: dict[str, list[str]] = {}
    for answer in choose.survey(all_parts(), SURVEY_SECONDS):
        names.setdefault(answer.refused, []).append(answer.place.name)
    for refused, places in names.items():
        yield Finding(
            "note" if refused else "good",
            "online supply",
            f"{', '.join(places)}: {refused or 'answers'}",
            "LAB_MIRROR=host:port LAB_DOWNLOADS=URL ./lab up, or ./lab up --supply offline"
            if refused
            else "",
        )


def _mirror() -> Iterator[Finding]:
    """The room mirror that this checkout has joined."""
    if (joined := index.joined()) is None:
        return
    try:
        Connection(joined.url, joined.ca).get(index.INDEX)
    except LabError as error:
        yield Finding("bad", "room mirror", error.what, index.WAY_OUT)
    else:
        yield Finding("good", "room mirror", f"joined: {joined.url} answers")


def _age() -> Iterator[Finding]:
    """The pinned parts that their publishers no longer mend, by supply."""
    for supply in SUPPLIES:
        parts = [part.at(supply) for part in all_parts().values() if getattr(part, supply)]
        past = [f"{part.name} {part.version} ({part.eol})" for part in parts if is_past(part.eol)]
        if past:
            other = next(name for name in SUPPLIES if name != supply)
            yield Finding(
                "note",
                "end of life",
                f"{supply}: {', '.join(past)}",
                f"nobody mends them any more; ./lab up --supply {other} may bring newer ones",
            )


def _state() -> Iterator[Finding]:
    root = state_root()
    writable = os.access(root if root.exists() else root.parent, os.W_OK)
    yield Finding(
        "good" if writable else "bad",
        "state folder",
        str(root.name) + (" can be written" if writable else " cannot be written"),
        "" if writable else "LAB_STATE names another place",
    )
