"""A random key in a Secret that all replicas of a stand-in share."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping

from standins.common.kube import Kube, KubeError

FIELD = "key"


async def shared_key(
    kube: Kube, namespace: str, name: str, size: int, labels: Mapping[str, str] | None = None
) -> bytes:
    """The key, made by whichever replica comes first; b"" when the Secret holds none.

    Raises KubeError.
    """
    secret = await kube.find("Secret", namespace, name)
    if secret is None:
        made = {
            "metadata": {"name": name, "labels": dict(labels or {})},
            "type": "Opaque",
            "immutable": True,
            "data": {FIELD: base64.b64encode(secrets.token_bytes(size)).decode()},
        }
        try:
            secret = await kube.create("Secret", namespace, made)
        except KubeError as error:
            if not error.conflict:
                raise
            secret = await kube.get("Secret", namespace, name)
    try:
        return base64.b64decode(str((secret.get("data") or {}).get(FIELD, "")), validate=True)
    except (binascii.Error, ValueError):
        return b""
