"""Requests to the Vault in memory and its answers, worded as the real one's."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Data = dict[str, Any]


class Answer:
    """As much of a `requests.Response` as the code under test looks at."""

    def __init__(self, status: int, body: Data | None = None) -> None:
        self.status_code = status
        self._body = body or {}

    def json(self) -> Data:
        copy: Data = jsonlib.loads(jsonlib.dumps(self._body))
        return copy


@dataclass(frozen=True)
class Asked:
    """One request. `path` is below /v1/; `accessor` names the token that came with it."""

    method: str
    path: str
    body: Data
    query: Mapping[str, Any]
    accessor: str = ""

    @property
    def writes(self) -> bool:
        """Whether it is one of the two methods that Vault takes for writing."""
        return self.method in ("PUT", "POST")


def errors(status: int, *lines: str) -> Answer:
    """A refusal as Vault gives it."""
    return Answer(status, {"errors": list(lines)})


def data(found: Data | None) -> Answer:
    """Data in Vault's envelope, or Vault's "nothing there"."""
    return NOTHING if found is None else Answer(200, {"data": found})


NOTHING = errors(404)


def listing(paths: Iterable[str], path: str) -> Answer:
    """The names right below `path`, folders with a slash."""
    start = path.rstrip("/") + "/"
    below = [key.removeprefix(start) for key in paths if key.startswith(start)]
    names = sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in below})
    return data({"keys": names}) if names else NOTHING
