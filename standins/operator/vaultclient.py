"""Requests to one Vault, one logged-in token there, and how a secret sees it.

There are no repetitions: the reconcilers come again, with a backoff that people can see in the
status. The token stays inside: `id`, a hash of its accessor, names it in statuses and logs. A
403 marks the client as tainted; whoever caches it decides what that means.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from standins.common.connection import Connection
from standins.common.vault import Data, Vault, VaultError, deadline_exceeded
from standins.operator import model
from standins.operator.model import Obj


@dataclass
class Answer:
    """The parts of Vault's answer that the operator uses."""

    data: dict[str, Any]
    lease_id: str = ""
    lease_duration: int = 0
    renewable: bool = False
    request_id: str = ""
    auth: dict[str, Any] = field(default_factory=dict, repr=False)
    wrap_info: dict[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"Answer(lease_id={self.lease_id!r}, keys={sorted(self.data)})"


def _answer(body: Data) -> Answer:
    # Seal status and health are plain bodies without the `data` envelope.
    if not body.keys() & {"data", "auth", "lease_id", "request_id"}:
        body = {"data": body}
    try:
        return Answer(
            data=body.get("data") or {},
            lease_id=body.get("lease_id") or "",
            lease_duration=int(body.get("lease_duration") or 0),
            renewable=bool(body.get("renewable")),
            request_id=body.get("request_id") or "",
            auth=body.get("auth") or {},
            wrap_info=body.get("wrap_info") or {},
        )
    except ValueError:
        raise VaultError("the response is not one of Vault: lease_duration") from None


@dataclass(frozen=True)
class Target:
    """A VaultConnection, resolved; `seconds` is the time limit of a request."""

    connection: Connection
    seconds: float


class VaultApi:
    """Requests to the Vault of one VaultConnection. Tokens come with each call."""

    def __init__(self, vault: Vault, target: Target) -> None:
        # Another may take its place; requests under way end with the old settings.
        self.target = target
        self._vault = vault

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        namespace: str = "",
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer | None:
        """Vault's answer to `method` on `/v1/<path>`, None for nothing there; or VaultError."""
        to, seconds = self.target.connection, self.target.seconds
        if headers:
            to = replace(to, headers=(*to.headers, *headers.items()))
        query = {key: [value] for key, value in (params or {}).items()}
        try:
            async with asyncio.timeout(seconds):
                reply = await self._vault.send(
                    to, method, path, body, query=query, token=token, namespace=namespace
                )
        except TimeoutError:
            raise deadline_exceeded(to, method, path, query) from None
        except VaultError as error:
            if error.status == 404 and error.body.get("data"):
                # A deleted version of KV v2: no values, but when it was deleted.
                return _answer(error.body)
            if error.status == 404 and not error.errors:
                return None
            raise
        return None if reply.status == 204 else _answer(reply.body)


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
            raise VaultError(f'empty response from Vault, path="{path}"')
        return answer

    async def write(self, path: str, body: Mapping[str, Any]) -> Answer:
        """PUT; an answer without a body is an empty `Answer`."""
        answer = await self.client.call("PUT", path, body, namespace=self.namespace)
        return answer or Answer(data={})
