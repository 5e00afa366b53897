"""The service that kube-apiserver calls, v2.KeyManagementService, as typed messages.

The same fields are in kms.proto, for people and for the test that compares the two.
Plaintext and ciphertext never show in a repr. Below the messages are the limits that
kube-apiserver sets: it refuses what is over them, so nothing over them leaves here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from standins.common.wire import Message, Schema, tag, tag_map

SERVICE = "v2.KeyManagementService"
API_VERSION = "v2"
HEALTHY = "ok"


@dataclass(frozen=True)
class StatusRequest(Message):
    """Asks for the health and the current key."""


@dataclass(frozen=True)
class StatusResponse(Message):
    """`healthz` is "ok" or the reason why not."""

    version: str = tag(1, "")
    healthz: str = tag(2, "")
    key_id: str = tag(3, "")


@dataclass(frozen=True)
class DecryptRequest(Message):
    """`key_id` and `annotations` are what Encrypt gave along with the ciphertext."""

    ciphertext: bytes = tag(1, b"", secret=True)
    uid: str = tag(2, "")
    key_id: str = tag(3, "")
    annotations: Mapping[str, bytes] = tag_map(4)


@dataclass(frozen=True)
class DecryptResponse(Message):
    """The seed in clear."""

    plaintext: bytes = tag(1, b"", secret=True)


@dataclass(frozen=True)
class EncryptRequest(Message):
    """The seed to wrap."""

    plaintext: bytes = tag(1, b"", secret=True)
    uid: str = tag(2, "")


@dataclass(frozen=True)
class EncryptResponse(Message):
    """What kube-apiserver stores, in clear, in front of every object of this seed."""

    ciphertext: bytes = tag(1, b"", secret=True)
    key_id: str = tag(2, "")
    annotations: Mapping[str, bytes] = tag_map(3)


SCHEMA = Schema(
    "v2",
    StatusRequest,
    StatusResponse,
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
)

LONGEST_KEY_ID = 1024
LONGEST_CIPHERTEXT = 1024
# Ciphertext, key ID and 32 KiB of annotations fit; nothing that is meant for us is bigger.
LARGEST_REQUEST = 64 * 1024
