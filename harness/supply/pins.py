"""What each checkout on this machine needs of the cache, so that one does not free another's.

    pins/<sum of the checkout's path>.json    written whenever it has been provided with parts

A checkout that is gone needs nothing any more.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base import statefile
from harness.base.paths import FILES, cache_root
from harness.supply.base import Part, all_parts
from harness.supply.bundle import format as form
from harness.supply.offline.supply import OfflineSupply
from harness.supply.online.charts import ChartRelease
from harness.supply.online.downloads import Host, Release

SECONDS_BETWEEN = 600.0


@dataclass(frozen=True)
class Pins:
    """The needs of one checkout: cache entries ("recipe/key"), downloads, the sum of its lock."""

    checkout: Path
    entries: frozenset[str]
    downloads: frozenset[str]
    lock: str


def here() -> Pins:
    """Those of this checkout: whatever its versions.toml pins, for every lab and release."""
    offline = [part.name for part in all_parts().values() if "recipe" in part.offline]
    return Pins(
        FILES,
        frozenset(
            f"{recipe}/{key}" for recipe, key in OfflineSupply().all_entries(offline).items()
        ),
        frozenset(map(_download, filter(_is_downloaded, all_parts().values()))),
        form.lock_sum(),
    )


def note() -> None:
    """Write down what this checkout needs."""
    found = here()
    value = {
        "checkout": str(found.checkout),
        "entries": sorted(found.entries),
        "downloads": sorted(found.downloads),
        "lock": found.lock,
    }
    statefile.write_json(_file(found.checkout), value)


def note_at_times() -> None:
    """The same where the last time is a while ago: it reads all recipes."""
    file = _file(FILES)
    if not file.exists() or time.time() - file.stat().st_mtime > SECONDS_BETWEEN:
        note()


def known() -> Iterator[Pins]:
    """Those of every checkout that still exists. Raises UsageError for a broken file."""
    for file in sorted((cache_root() / "pins").glob("*.json")):
        stored = statefile.read_json(file)
        checkout = Path(str(stored.get("checkout", "")))
        if (checkout / "clusters" / "versions.toml").is_file():
            yield Pins(
                checkout,
                frozenset(stored.get("entries", ())),
                frozenset(stored.get("downloads", ())),
                str(stored.get("lock", "")),
            )


def _file(checkout: Path) -> Path:
    name = hashlib.sha256(str(checkout).encode()).hexdigest()[:16]
    return cache_root() / "pins" / f"{name}.json"


def _is_downloaded(part: Part) -> bool:
    return part.kind == "chart" or (part.kind == "binary" and bool(part.online))


def _download(part: Part) -> str:
    online = part.at("online")
    release = ChartRelease(online) if part.kind == "chart" else Release(online, Host.here())
    return release.folder.name
