"""One logged-in token at one Vault, and how a secret sees it.

The token stays inside: `id`, a hash of its accessor, names it in statuses and logs. A 403 marks
the client as tainted; whoever caches it decides what that means.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from standins.operator import model
from standins.operator.model import Obj
from standins.operator.vaulthttp import Answer, VaultApi, VaultError


class VaultClient:
    """One token at one Vault. `id` names the token without giving it away."""

    def __init__(
        self, api: VaultApi, auth: Obj, consumer_namespace: str, key: str, grant: Mapping[str, Any]
    ) -> None:
        self.api = api
        self.key = key
        self.auth_ref = f"{model.namespace(auth)}/{model.name(auth)}"
        self.consumer_namespace = consumer_namespace
        self.vault_namespace = str(model.spec(auth).get("namespace") or "")
        self.accessor = str(grant.get("accessor") or "")
        self.id = hashlib.blake2b(self.accessor.encode(), digest_size=32).hexdigest()
        self.tainted = False
        self.closed = False
        self._token = str(grant.get("client_token") or "")
        self.renewed(grant)

    def __repr__(self) -> str:
        return f"VaultClient(key={self.key!r}, id={self.id[:8]!r})"

    def renewed(self, grant: Mapping[str, Any]) -> None:
        """Take the life of the token from a login's or renewal's `auth` block."""
        self.ttl = float(grant.get("lease_duration") or 0)
        self.renewable = bool(grant.get("renewable"))
        self.expires = time.monotonic() + self.ttl if self.ttl else float("inf")

    @property
    def alive(self) -> bool:
        """Not closed and not expired by its own clock."""
        return not self.closed and time.monotonic() < self.expires

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        namespace: str = "",
    ) -> Answer | None:
        """A request with this token; a 403 taints the client."""
        try:
            return await self.api.call(
                method,
                path,
                token=self._token,
                namespace=namespace or self.vault_namespace,
                body=body,
                params=params,
            )
        except VaultError as error:
            if error.forbidden:
                self.tainted = True
            raise


class View:
    """A client as one secret sees it: with the Vault namespace of its spec."""

    def __init__(self, client: VaultClient, namespace: str) -> None:
        differs = bool(namespace) and namespace != client.vault_namespace
        self.client = client
        self.namespace = namespace if differs else ""
        self.key = f"{client.key}-{namespace}" if differs else client.key
        self.id = client.id

    @property
    def meta(self) -> dict[str, str]:
        """`status.vaultClientMeta`."""
        return {"cacheKey": self.key, "id": self.id}

    async def read(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        """GET; VaultError also when there is nothing at `path`."""
        answer = await self.client.call("GET", path, params=params, namespace=self.namespace)
        if answer is None:
            raise VaultError(f"GET {path}", 0, [f'empty response from Vault, path="{path}"'])
        return answer

    async def write(self, path: str, body: Mapping[str, Any]) -> Answer:
        """PUT; an answer without a body is an empty `Answer`."""
        answer = await self.client.call("PUT", path, body, namespace=self.namespace)
        return answer or Answer(data={})
