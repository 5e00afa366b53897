"""Lab 04: the Secrets Operator. The order of the imports is the order of the steps."""

from labs.lab04_operator.lab import operator  # isort: skip
from labs.lab04_operator import (  # isort: skip
    connect,
    first_secret,
    refusals,
    ownership,
    changes,
    drift,
    shape,
    database,
    farewell,
    certificates,
    two_vaults,
    outage,
    traces,
)

__all__ = [
    "certificates",
    "changes",
    "connect",
    "database",
    "drift",
    "farewell",
    "first_secret",
    "operator",
    "outage",
    "ownership",
    "refusals",
    "shape",
    "traces",
    "two_vaults",
]
