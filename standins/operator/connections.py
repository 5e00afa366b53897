"""The Vault of each VaultConnection.

A `VaultApi` outlives changes of its VaultConnection or CA: it is pointed at the new target, so
that clients which hold it go on. Resolving a connection reads its CA from the Secret named.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from standins.common.connection import Connection, base_url, tls_context
from standins.common.kube import Kube, Obj
from standins.common.values import parse_duration
from standins.common.vault import Vault
from standins.operator import model
from standins.operator.lookups import find
from standins.operator.vaultclient import Target, VaultApi

# Connections to one Vault, however many secrets it has.
_CONNECTIONS = 16
_TIMEOUT = 60.0

_NAMESPACE = "X-Vault-Namespace"


def _check(spec: Mapping[str, Any]) -> None:
    """What the schema lets pass and the Vault client refuses."""
    path, fault = str(spec.get("caCertPath") or ""), ""
    if path and spec.get("caCertSecretRef"):
        fault = "CACertPath and CACertSecretRef are mutually exclusive, only one can be set"
    elif ".." in path:
        fault = f'path contains traversal sequence: "{path}"'
    if fault:
        raise ValueError(f"invalid CA cert config: {fault}")
    if path:
        try:
            Path(path).open("rb").close()
        except OSError as error:
            reason = f"open {path}: {(error.strerror or '').lower()}"
            raise ValueError(f'failed to read CA cert file "{path}": {reason}') from error
    if any(name.lower() == _NAMESPACE.lower() for name in spec.get("headers") or {}):
        raise ValueError(f'setting header "{_NAMESPACE}" on VaultConnection is not permitted')


class Connections:
    """Finds or makes the access to the Vault of a VaultConnection."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._vault = Vault(connections=_CONNECTIONS)
        self._known: dict[str, VaultApi] = {}

    @property
    def requests(self) -> int:
        """Requests made so far, for the metrics."""
        return self._vault.requests

    async def target(self, connection: Obj) -> Target:
        """`connection` resolved. ValueError says what is wrong with it."""
        spec, namespace = model.spec(connection), model.namespace(connection)
        authority = ""
        _check(spec)
        if name := spec.get("caCertSecretRef"):
            secret = await find(self._kube, "Secret", namespace, name)
            if secret is None:
                raise ValueError(f'secrets "{name}" not found in namespace {namespace}')
            encoded = (secret.get("data") or {}).get("ca.crt")
            if not encoded:
                raise ValueError(f'"ca.crt" not present in the CA secret "{namespace}/{name}"')
            authority = base64.b64decode(encoded).decode()
        timeout = str(spec.get("timeout") or "")
        return Target(
            Connection(
                address=str(spec.get("address") or ""),
                ca_pem=authority,
                ca_file="" if authority else str(spec.get("caCertPath") or ""),
                server_name=str(spec.get("tlsServerName") or ""),
                skip_verify=bool(spec.get("skipTLSVerify")),
                headers=tuple(sorted((spec.get("headers") or {}).items())),
            ),
            parse_duration(timeout) if timeout else _TIMEOUT,
        )

    async def api(self, connection: Obj) -> VaultApi:
        """The access to the Vault of `connection`. ValueError as for `target`."""
        target = await self.target(connection)
        if base_url(target.connection.address).scheme == "https":
            tls_context(target.connection)
        known = self._known.setdefault(model.uid(connection), VaultApi(self._vault, target))
        known.target = target
        return known

    async def close(self) -> None:
        """Close all connections."""
        await self._vault.close()
