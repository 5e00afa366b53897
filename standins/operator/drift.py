"""Has the Secret drifted from what Vault said?

The operator keeps no copy of the data. `status.secretMAC` holds an HMAC of it, keyed with a
random key from a Secret that only the operator reads; both Vault's new data and the Secret as
it is now are compared with that. The form that is hashed is upstream's: JSON of key to base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping

from standins.common import gojson
from standins.common.keys import shared_key
from standins.common.kube import Kube, KubeError
from standins.operator.model import Obj

KEY_HOLDER = "vso-cc-storage-hmac-key"
_KEY_BYTES = 16
_LABELS = {
    "app.kubernetes.io/name": "vault-secrets-operator",
    "app.kubernetes.io/managed-by": "hashicorp-vso",
    "app.kubernetes.io/component": "client-cache-storage-verification",
}


class Fingerprints:
    """Computes and compares HMACs; loads or makes the key at the first use."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._key = b""

    async def key(self) -> bytes:
        """The key, created when it is missing. KubeError when it cannot be had."""
        if not self._key:
            found = await shared_key(self._kube, self._namespace, KEY_HOLDER, _KEY_BYTES, _LABELS)
            if len(found) != _KEY_BYTES:
                raise KubeError(
                    0,
                    f"Secret {self._namespace}/{KEY_HOLDER} holds no key of {_KEY_BYTES} bytes; "
                    "delete it, the operator makes a new one and syncs all secrets again",
                )
            self._key = found
        return self._key

    async def of(self, data: Mapping[str, bytes]) -> str:
        """base64 of the HMAC-SHA256 of `data`."""
        message = gojson.dumps(dict(data)).encode()
        digest = hmac.new(await self.key(), message, hashlib.sha256).digest()
        return base64.b64encode(digest).decode()

    async def matches(
        self,
        secret: Obj | None,
        mac: str,
        part: Callable[[Mapping[str, bytes]], Mapping[str, bytes]] = dict,
    ) -> bool:
        """Whether `part` of the Secret's data has this fingerprint (never, without either)."""
        if secret is None or not mac:
            return False
        try:
            data = {
                key: base64.b64decode(value or "", validate=True)
                for key, value in (secret.get("data") or {}).items()
            }
        except binascii.Error:
            return False
        return hmac.compare_digest(await self.of(part(data)), mac)
