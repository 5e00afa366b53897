"""Keeping secret values out of everything that is printed, logged or stored.

Values that must not be seen are registered here once, when they come into being (a
root token, a token that a login returned, the run's canary). `redact()` replaces each
of them, and whatever looks like a Vault token or a signed JWT, before text leaves the
process. It cannot hide a secret that was transformed first (base64 of one is
registered along with it; a hash is not a secret).
"""

from __future__ import annotations

import base64
import json
import re
import threading

MASK = "‹secret›"
# Short values would mask ordinary words; Vault's own shortest secrets are longer.
SHORTEST = 6

# A line of a longer secret; a shorter one may be any word.
LINE_SHORTEST = 12
_BEGIN, _END = (f"-----{word} [A-Z ]*PRIVATE KEY-----" for word in ("BEGIN", "END"))
# More lines than a private key has: a beginning without an end does not mask for ever.
_KEY_LINES = 200
# The labs' own tokens, which they choose themselves (harness.servers.vault_files).
TOKEN_PREFIX = "lab-token-"  # noqa: S105 # how they begin

_PATTERNS = (
    re.compile(rf"\b{TOKEN_PREFIX}[0-9a-f]{{20,}}"),
    # Vault service, batch and recovery tokens; OpenBao's start with s., b. or r.
    re.compile(r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}"),
    re.compile(r"\b[sbr]\.[A-Za-z0-9]{24}\b"),
    # Three base64url parts with a JSON header: a signed JWT (RFC 7519 section 3).
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    # A private key, in lines or in one line of JSON. Of one that is cut off at its beginning or at
    # its end, what is left.
    re.compile(rf"{_BEGIN}.*?{_END}", re.DOTALL),
    re.compile(rf"{_BEGIN}(?:\s*\n|\\n|\\r).*", re.DOTALL),
    # The look behind keeps it from trying each character of a picture in base64 as a beginning.
    re.compile(rf"(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{{40,}}\s+)+(?:[A-Za-z0-9+/=]+\s+)?{_END}"),
)

_lock = threading.Lock()
_known: set[str] = set()
# The same, the longest first: a secret may be part of a longer one.
_ordered: list[str] = []


class Secret(str):
    """A string whose repr does not show it; equal to and usable as the plain string."""

    __slots__ = ()

    def __new__(cls, value: str) -> Secret:
        register(value)
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"


def register(value: str) -> None:
    """Make `redact` hide `value` from now on: as it is, in base64, in JSON, and line by line."""
    value = str(value)
    if len(value) < SHORTEST:
        return
    wrapped = base64.encodebytes(value.encode()).decode()
    forms = {value, wrapped.replace("\n", ""), json.dumps(value)[1:-1]}
    for text in (value, wrapped):
        lines = [line.strip() for line in text.splitlines()]
        if len(lines) > 1:
            forms.update(
                line
                for line in lines
                if len(line) >= LINE_SHORTEST and not line.startswith("-----")
            )
    with _lock:
        if not forms <= _known:
            _known.update(forms)
            _ordered[:] = sorted(_known, key=len, reverse=True)


def redact(text: str) -> str:
    """`text` with every registered value and everything token-like masked."""
    with _lock:
        known = list(_ordered)
    for value in known:
        if value in text:
            text = text.replace(value, MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return text


class StreamRedactor:
    """Redacts text that comes in pieces, lines say: a private key may span several of them."""

    def __init__(self) -> None:
        # How many more lines may belong to a key that has begun; 0 outside of one.
        self._key_lines = 0

    def feed(self, text: str) -> str:
        """The next piece, masked; a piece that lies within a private key is masked whole."""
        end_of_line = "\n" if text.endswith("\n") else ""
        if self._key_lines:
            end = re.search(_END, text)
            if end:
                self._key_lines = 0
                return MASK + self.feed(text[end.end() :])
            self._key_lines = max(0, self._key_lines - max(1, text.count("\n")))
            return MASK + end_of_line
        begins = [found.start() for found in re.finditer(_BEGIN, text)]
        if begins and not re.search(_END, text[begins[-1] :]):
            self._key_lines = _KEY_LINES
            return redact(text[: begins[-1]]) + MASK + end_of_line
        return redact(text)
