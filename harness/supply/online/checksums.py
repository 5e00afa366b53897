"""Reading the checksum files of the parts' publishers, and summing files.

Three forms occur: the bare sum (kubectl), `sum  name` lists as sha256sum prints them
(kind, helm, vault) and BSD's `SHA256 (name) = sum`. Only SHA-256 counts. A list that does
not name the file is not a match, even when it has only one line: it may be the sum of
another platform's file.
"""

from __future__ import annotations

import re

_SUM = r"(?P<sum>[0-9a-fA-F]{64})"
_BARE = re.compile(_SUM)
_GNU = re.compile(_SUM + r"[ \t]+\*?(?P<name>\S.*)")
_BSD = re.compile(r"SHA256 ?\((?P<name>.+)\) ?= ?" + _SUM)


def find_sum(text: str, name: str) -> str | None:
    """The SHA-256 (64 lower-case hex digits) that `text` gives for the file `name`, or None."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and (bare := _BARE.fullmatch(lines[0])):
        return bare["sum"].lower()
    found = set()
    for line in lines:
        match = _GNU.fullmatch(line) or _BSD.fullmatch(line)
        # Some lists carry the folder of the publisher's build machine.
        if match and match["name"].rpartition("/")[2] == name:
            found.add(match["sum"].lower())
    return found.pop() if len(found) == 1 else None
