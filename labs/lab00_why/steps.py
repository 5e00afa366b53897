"""Lab 00: why Vault. The order of the imports is the order of the steps."""

from labs.lab00_why.lab import why  # isort: skip
from labs.lab00_why import (  # isort: skip
    encoding,
    readers,
    elsewhere,
    etcd,
    encrypt,
    ciphers,
    rotation,
    kms,
    outage,
    promise,
    freshness,
    audit,
    table,
)

__all__ = [
    "audit",
    "ciphers",
    "elsewhere",
    "encoding",
    "encrypt",
    "etcd",
    "freshness",
    "kms",
    "outage",
    "promise",
    "readers",
    "rotation",
    "table",
    "why",
]
