"""Keeping secret values out of everything that is printed, logged or stored.

Values that must not be seen are registered here once, when they come into being (a
root token, a token that a login returned, the run's canary). `redact()` replaces each
of them, and whatever looks like a Vault token or a signed JWT, before text leaves the
process. It cannot hide a secret that was transformed first (base64 of one is
registered along with it; a hash is not a secret).
"""

from __future__ import annotations

import base64
import re
import threading

MASK = "‹secret›"
# Short values would mask ordinary words; Vault's own shortest secrets are longer.
SHORTEST = 6

# The labs' own tokens, which they choose themselves (harness.servers.vault_files).
TOKEN_PREFIX = "lab-token-"  # noqa: S105 # how they begin

_PATTERNS = (
    re.compile(rf"\b{TOKEN_PREFIX}[0-9a-f]{{20,}}"),
    # Vault service, batch and recovery tokens; OpenBao's start with s., b. or r.
    re.compile(r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}"),
    re.compile(r"\b[sbr]\.[A-Za-z0-9]{24}\b"),
    # Three base64url parts with a JSON header: a signed JWT (RFC 7519 section 3).
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
)

_lock = threading.Lock()
_known: set[str] = set()


class Secret(str):
    """A string whose repr does not show it; equal to and usable as the plain string."""

    __slots__ = ()

    def __new__(cls, value: str) -> Secret:
        register(value)
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"


def register(value: str) -> None:
    """Make `redact` hide `value` (and its base64 form) from now on."""
    if len(value) < SHORTEST:
        return
    encoded = base64.b64encode(value.encode()).decode()
    with _lock:
        _known.update((str(value), encoded))


def redact(text: str) -> str:
    """`text` with every registered value and everything token-like masked."""
    with _lock:
        known = sorted(_known, key=len, reverse=True)
    for value in known:
        if value in text:
            text = text.replace(value, MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return text
