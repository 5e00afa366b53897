"""Base64 as Go's StdEncoding reads it: line ends anywhere are skipped, nothing else is.

Python's decoder either refuses the line ends that `base64` and Kubernetes' tools put in, or
skips every character that is none of the alphabet.
"""

from __future__ import annotations

import base64
import re

_WHOLE = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def decode(text: str | bytes) -> bytes:
    """The bytes that `text` stands for. Raises ValueError, which does not quote it."""
    encoded = text.encode("utf-8", "replace") if isinstance(text, str) else text
    encoded = encoded.replace(b"\r", b"").replace(b"\n", b"")
    if not _WHOLE.fullmatch(encoded):
        raise ValueError("illegal base64 data")
    return base64.b64decode(encoded)
