"""Reading Vault's audit file: one JSON object a line, a request and a response each.

The labs read it to answer "who read what, and when". Values in it are HMACs, so nothing
here needs masking (Vault documentation, "Audit devices"). The file grows for as long as an
environment lives: it is read from a mark on and block by block, and a line is parsed only
when it can be one that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]

BLOCK = 1 << 20
# Go writes these in another way than Python, depending on the server.
_ESCAPED = frozenset('<>&"\\\u2028\u2029')


class AuditLog:
    """Vault's audit file on this machine, from the byte `start` on.

    Each iteration over it reads the file again: every complete entry, oldest first.
    """

    def __init__(self, file: Path, start: int = 0) -> None:
        self.file = file
        self.start = start

    def __iter__(self) -> Iterator[Entry]:
        return self._read()

    def mark(self) -> int:
        """The present end of the log, in bytes."""
        return self.file.stat().st_size if self.file.exists() else 0

    def entries(self) -> Iterable[Entry]:
        """Every complete entry, oldest first; read from the file when it is iterated over."""
        return self

    def responses(self, path: str) -> list[Entry]:
        """The response entries whose request path is exactly `path` (without /v1/)."""
        return [entry for entry in self._about(path) if entry.get("type") == "response"]

    def refusals(self, path: str) -> list[str]:
        """The reasons why requests for `path` were refused, oldest first.

        A request that is refused before it reaches its handler has no response entry,
        only a request entry with an error.
        """
        return [str(entry["error"]) for entry in self._about(path) if entry.get("error")]

    def _about(self, path: str) -> Iterator[Entry]:
        plain = path.isascii() and path.isprintable() and not _ESCAPED & set(path)
        for entry in self._read(f'"{path}"'.encode() if plain else b""):
            if (entry.get("request") or {}).get("path") == path:
                yield entry

    def _read(self, text: bytes = b"") -> Iterator[Entry]:
        """The entries in whose lines `text` occurs."""
        if not self.file.exists():
            return
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            rest = b""
            while block := stream.read(BLOCK):
                # What follows the last line end is the part of a line: Vault may still write it.
                lines, _, rest = (rest + block).rpartition(b"\n")
                if lines and text in lines:
                    yield from (json.loads(line) for line in lines.split(b"\n") if text in line)
