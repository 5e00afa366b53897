"""What one step leaves for the next, and how far a person has got: small JSON files.

Both live in the environment's state folder and survive restarts. Notes are not a
place for secrets: a value that redaction would touch is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from harness.base.errors import UsageError
from harness.base.redact import redact
from harness.base.statefile import read_json, write_json


class NoteMissing(UsageError, KeyError):
    """There is no note of that name. A KeyError, so that `notes.get(key, default)` works."""


class Notes(MutableMapping[str, Any]):
    """A dictionary in a file. Values are JSON; a secret among them raises ValueError."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __getitem__(self, key: str) -> Any:
        values = read_json(self._file)
        if key not in values:
            raise NoteMissing(
                f"an earlier step should have left a note {key!r} and did not",
                where=str(self._file),
                hint="solve the steps before this one: ./lab solve",
            )
        return values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        text = json.dumps(value)
        if redact(text) != text:
            raise ValueError(f"note {key!r} would write a secret to disk")
        write_json(self._file, {**read_json(self._file), key: value})

    def replace(self, values: dict[str, Any]) -> None:
        """Make these the only notes."""
        write_json(self._file, values)

    def __delitem__(self, key: str) -> None:
        values = read_json(self._file)
        values.pop(key, None)
        write_json(self._file, values)

    def __iter__(self) -> Iterator[str]:
        return iter(read_json(self._file))

    def __len__(self) -> int:
        return len(read_json(self._file))

    def __contains__(self, key: object) -> bool:
        return key in read_json(self._file)
