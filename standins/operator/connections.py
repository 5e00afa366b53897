"""Connection pools to Vault servers, one for each VaultConnection.

A pool outlives changes of its VaultConnection or CA: it is pointed at the new target, so
that clients which hold it go on. Resolving a connection reads its CA from the Secret or the
file named.
"""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

from standins.operator import model
from standins.operator.kube import KubeApi, get_or_none
from standins.operator.model import Obj
from standins.operator.vaulthttp import Target, VaultApi


class Connections:
    """Finds or makes the pool for a VaultConnection."""

    def __init__(self, kube: KubeApi) -> None:
        self._kube = kube
        self._pools: dict[str, VaultApi] = {}

    @property
    def requests(self) -> int:
        """Requests made by the present pools, for the metrics."""
        return sum(pool.requests for pool in self._pools.values())

    async def target(self, connection: Obj) -> Target:
        """`connection` resolved. ValueError says what is wrong with it."""
        spec, namespace = model.spec(connection), model.namespace(connection)
        authority = ""
        if name := spec.get("caCertSecretRef"):
            secret = await get_or_none(self._kube, "Secret", namespace, name)
            encoded = ((secret or {}).get("data") or {}).get("ca.crt")
            if not encoded:
                raise ValueError(f'Secret {namespace}/{name} with key "ca.crt" not found')
            authority = base64.b64decode(encoded).decode()
        elif path := spec.get("caCertPath"):
            try:
                authority = await asyncio.to_thread(Path(path).read_text)
            except OSError as error:
                raise ValueError(f"caCertPath {path}: {error.strerror}") from error
        return Target(
            address=str(spec.get("address") or ""),
            ca=authority,
            tls_server_name=str(spec.get("tlsServerName") or ""),
            skip_tls_verify=bool(spec.get("skipTLSVerify")),
            headers=tuple(sorted((spec.get("headers") or {}).items())),
            timeout=str(spec.get("timeout") or ""),
        )

    async def api(self, connection: Obj) -> VaultApi:
        """The pool for `connection`. ValueError as for `target`."""
        target = await self.target(connection)
        key = model.uid(connection)
        known = self._pools.get(key)
        if known is None:
            known = self._pools[key] = VaultApi(target)
        elif known.target != target:
            known.retarget(target)
        return known

    async def close(self) -> None:
        """Close all pools."""
        for pool in self._pools.values():
            await pool.close()
