"""Lab 01: the raw HTTP API. The order of the imports is the order of the steps."""

from labs.lab01_http_api.lab import http_api  # isort: skip
from labs.lab01_http_api import (  # isort: skip
    hello,
    kv,
    policies,
    trust,
    login,
    refusals,
    oidc,
    tokens,
    wrapping,
    database,
    crypto,
    application,
    audit_trail,
)

__all__ = [
    "application",
    "audit_trail",
    "crypto",
    "database",
    "hello",
    "http_api",
    "kv",
    "login",
    "oidc",
    "policies",
    "refusals",
    "tokens",
    "trust",
    "wrapping",
]
