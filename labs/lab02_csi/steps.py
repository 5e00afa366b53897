"""Lab 02: the CSI provider. The order of the imports is the order of the steps."""

from labs.lab02_csi.lab import csi  # isort: skip
from labs.lab02_csi import (  # isort: skip
    overview,
    trust,
    mount,
    etcd,
    engines,
    sync,
    rotation,
    refusals,
    doors,
    audit_trail,
    outage,
)

__all__ = [
    "audit_trail",
    "csi",
    "doors",
    "engines",
    "etcd",
    "mount",
    "outage",
    "overview",
    "refusals",
    "rotation",
    "sync",
    "trust",
]
