"""What one step leaves for the next, and how far a person has got: small JSON files.

Both live in the environment's state folder and survive restarts. Writes go to a
temporary file first, so that an interrupt never leaves half a file. Notes are not a
place for secrets: a value that redaction would touch is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from harness.base.errors import UsageError
from harness.base.redact import redact


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


def write_json(file: Path, value: object) -> None:
    """Replace `file` atomically, readable by its owner only."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1, sort_keys=True)
    partial.replace(file)


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
