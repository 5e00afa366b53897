"""Object versions: they change when the content does, and give nothing of it away.

An HMAC over the object's own description and its content, so that two objects with the
same content have different versions. Computed over the same bytes as the real provider
does, with the same key Secret: to replace one by the other rotates nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from standins.common import gojson
from standins.csi_provider.objects import SecretObject


def object_version(entry: SecretObject, key: bytes, content: bytes) -> str:
    """base64url(HMAC-SHA256(key, description + content)); "" without a key."""
    if not key:
        return ""
    digest = hmac.new(key, _describe(entry).encode() + content, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode()


def _describe(entry: SecretObject) -> str:
    """The object as JSON, fields named and ordered as the real provider has them."""
    fields = {
        "ObjectName": entry.name,
        "SecretPath": entry.path,
        "SecretKey": entry.key,
        "Method": entry.method,
        "SecretArgs": entry.args,
        "FilePermission": entry.mode,
        "Encoding": entry.encoding,
    }
    return "{" + ",".join(f'"{name}":{gojson.dumps(value)}' for name, value in fields.items()) + "}"
