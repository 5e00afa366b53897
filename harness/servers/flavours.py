"""Vault and OpenBao: what differs between the two for the code that starts a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Flavour:
    """One of the two servers.

    `part` is its image, `program` the command in it, `home` the folder in the image that the
    server's user owns. `declared_audit`: OpenBao takes audit devices from its configuration
    only (interfaces.md 5.5).
    """

    name: str
    part: str
    program: str
    home: str
    declared_audit: bool


FLAVOURS: Mapping[str, Flavour] = {
    "vault": Flavour("vault", "vault", "vault", "/vault", declared_audit=False),
    "openbao": Flavour("openbao", "openbao", "bao", "/openbao", declared_audit=True),
}
