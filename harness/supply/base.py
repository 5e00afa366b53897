"""What every supply offers: make a part available here and say where it came from.

A part is one entry of clusters/versions.toml: an image, a program for this machine or
a chart. A supply provides parts by name, several at once, so that it can build or
fetch in parallel. The two supplies (offline, online) differ in nothing else;
who asks for a part never asks which one answers.
"""

from __future__ import annotations

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from harness.base import statefile
from harness.base.errors import UsageError
from harness.base.paths import clusters
from harness.base.progress import Progress

VERSIONS_FILE = "versions.toml"
SUPPLIES = ("online", "offline")


@dataclass(frozen=True)
class Part:
    """One pinned part: an entry of clusters/versions.toml.

    `kind` is "image", "binary", "chart" or "source" (an ingredient that is never asked for
    by itself). `online` and `offline` hold what each supply needs to know; their keys are
    documented in versions.toml itself. `eol` is the day on which its publisher's support
    ends (ISO 8601), "" where none is known.
    """

    name: str
    version: str
    kind: str
    licence: str
    about: str
    online: Mapping[str, Any] = field(default_factory=dict)
    offline: Mapping[str, Any] = field(default_factory=dict)
    eol: str = ""

    def at(self, supply: str) -> Part:
        """The part as the supply of this name has it: in its own version, if it has one."""
        own = {"online": self.online, "offline": self.offline}[supply]
        return replace(self, version=own.get("version", self.version), eol=own.get("eol", self.eol))


@dataclass(frozen=True)
class Provided:
    """A part that is available now. Exactly one of `image` and `path` is set.

    `image` is a reference that the local container engine resolves without a pull;
    `path` is an executable on this machine (or a chart). `origin` completes the
    sentence "this part comes from …"; `upstream` is False for a stand-in. `digest` is
    the image ID or the SHA-256 sum, for `status` and for telling that a part changed. `note`
    is what a person should know about it and did not ask for.
    """

    part: str
    version: str
    origin: str
    upstream: bool
    digest: str
    image: str = ""
    path: Path | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The part as an environment's record has it."""
        return {**asdict(self), "path": str(self.path or "")}

    @classmethod
    def from_json(cls, stored: object) -> Provided:
        """The reverse of `to_json`. Raises ValueError naming the first field that is wrong."""
        path = statefile.field(stored, "path", str)
        return cls(
            part=statefile.field(stored, "part", str),
            version=statefile.field(stored, "version", str),
            origin=statefile.field(stored, "origin", str),
            upstream=statefile.field(stored, "upstream", bool),
            digest=statefile.field(stored, "digest", str),
            image=statefile.field(stored, "image", str),
            path=Path(path) if path else None,
            note=statefile.field(stored, "note", str, ""),
        )


class Supply(ABC):
    """Provides parts. `why` completes "this supply was picked because …"."""

    name: str
    why: str = ""

    @abstractmethod
    def provide(self, parts: Iterable[str], progress: Progress) -> dict[str, Provided]:
        """Make every named part available and return them by name.

        Idempotent and resumable: what is there is reused, an interrupted call leaves
        nothing that a later one mistakes for finished. Raises EnvironmentLacks when
        this machine cannot get a part, with the other ways to get it as the hint.
        """

    @abstractmethod
    def ready(self, parts: Iterable[str]) -> bool:
        """Whether `provide` would return at once: nothing to build, nothing to fetch."""


def is_past(eol: str, today: date | None = None) -> bool:
    """Whether the end of life `eol` of a part (ISO 8601, "" for unknown) is over."""
    return bool(eol) and date.fromisoformat(eol) < (today or datetime.now(UTC).date())


@cache
def all_parts() -> Mapping[str, Part]:
    """Every part of clusters/versions.toml by name."""
    file = clusters() / VERSIONS_FILE
    try:
        pinned = tomllib.loads(file.read_text(encoding="utf-8"))
        table = {**pinned["parts"], **dict(map(_chart, pinned["charts"].items()))}
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"the list of parts cannot be read: {error}", where=str(file), hint="git checkout it"
        ) from error
    return {name: Part(name=name, **entry) for name, entry in table.items()}


def chart_part(chart: str) -> str:
    """The part that is upstream's chart of this name: an image may be called the same."""
    return f"{chart}-chart"


def _chart(entry: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """An entry `[charts.NAME]` as an entry of a part, which only the online supply has."""
    name, values = entry
    part = {key: value for key, value in values.items() if key not in ("repository", "digest")}
    source = {key: values[key] for key in ("repository", "digest") if key in values}
    return chart_part(name), {
        "kind": "chart",
        "about": f"upstream's chart {name}",
        **part,
        "online": {"chart": name, **source},
    }


def find_part(name: str) -> Part:
    """The pinned part of this name. Raises UsageError when versions.toml has none."""
    try:
        return all_parts()[name]
    except KeyError:
        raise UsageError(
            f"there is no part {name!r}", where=VERSIONS_FILE, hint=", ".join(all_parts())
        ) from None
