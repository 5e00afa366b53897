"""Reading Vault's audit file: one JSON object a line, a request and a response each.

The labs read it to answer "who read what, and when". Values in it are HMACs, so nothing
here needs masking (Vault documentation, "Audit devices").
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class AuditLog:
    """Vault's audit file on this machine, from the byte `start` on."""

    def __init__(self, file: Path, start: int = 0) -> None:
        self.file = file
        self.start = start

    def mark(self) -> int:
        """The present end of the log, in bytes."""
        return self.file.stat().st_size if self.file.exists() else 0

    def entries(self) -> list[Entry]:
        """Every complete entry, oldest first."""
        return list(self._read())

    def responses(self, path: str) -> list[Entry]:
        """The response entries whose request path is exactly `path` (without /v1/)."""
        return [
            entry
            for entry in self._read()
            if entry.get("type") == "response" and (entry.get("request") or {}).get("path") == path
        ]

    def refusals(self, path: str) -> list[str]:
        """The reasons why requests for `path` were refused, oldest first.

        A request that is refused before it reaches its handler has no response entry,
        only a request entry with an error.
        """
        return [
            str(entry["error"])
            for entry in self._read()
            if entry.get("error") and (entry.get("request") or {}).get("path") == path
        ]

    def _read(self) -> Iterator[Entry]:
        if not self.file.exists():
            return
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            for line in stream:
                if not line.endswith(b"\n"):
                    return  # Vault is still writing this one
                yield json.loads(line)
