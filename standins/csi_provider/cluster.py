"""What the provider asks of its cluster: a pod's token, and the key of object versions.

A token is asked for only when kubelet sent none for the audience. The key lives in an
immutable Secret that whichever provider comes first creates, so that all nodes give
the same version to the same content.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Any, Protocol
from urllib.parse import quote

from standins.csi_provider.errors import MountError
from standins.csi_provider.kubeapi import ApiError, KubeApi
from standins.csi_provider.parameters import Pod

TOKEN_SECONDS = 15 * 60
KEY_BYTES = 32
KEY_NAME = "key"
_NOT_FOUND, _CONFLICT = 404, 409


class NoKey(Exception):
    """There is no usable HMAC key; mounts go on without versions."""


class Cluster(Protocol):
    """What a mount needs of the cluster; the tests have one of their own."""

    async def pod_token(self, pod: Pod, audience: str) -> str:
        """A new service-account token, bound to `pod`. Raises MountError."""

    async def hmac_key(self) -> bytes:
        """The key for object versions, created if there is none. Raises NoKey."""


class KubernetesCluster:
    """The cluster behind an API client."""

    def __init__(self, api: KubeApi, key_secret: str) -> None:
        self._api = api
        self._key_secret = key_secret
        self._secrets = f"/api/v1/namespaces/{quote(api.namespace, safe='')}/secrets"

    async def pod_token(self, pod: Pod, audience: str) -> str:
        """See Cluster. Without an audience the token gets the API server's default."""
        namespace, account = quote(pod.namespace, safe=""), quote(pod.account, safe="")
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": TOKEN_SECONDS,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": pod.name,
                    "uid": pod.uid,
                },
            },
        }
        failed = f"failed to create a service account token for requesting pod {pod}"
        try:
            answer = await self._api.request(
                "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", body
            )
            return str(answer["status"]["token"])
        except ApiError as error:
            raise MountError(f"{failed}: {error}") from None
        except (KeyError, TypeError):
            raise MountError(f"{failed}: the answer holds no token") from None

    async def hmac_key(self) -> bytes:
        """See Cluster. Asks each time: a key that was deleted is to be replaced."""
        try:
            try:
                found = await self._read()
            except ApiError as error:
                if error.status != _NOT_FOUND:
                    raise
                found = await self._create()
        except ApiError as error:
            raise NoKey(str(error)) from None
        return self._key_of(found)

    async def _read(self) -> dict[str, Any]:
        return await self._api.request("GET", f"{self._secrets}/{quote(self._key_secret, safe='')}")

    async def _create(self) -> dict[str, Any]:
        """Create the key, or read the one of a provider that was faster."""
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self._key_secret},
            "immutable": True,
            "data": {KEY_NAME: base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()},
        }
        try:
            return await self._api.request("POST", self._secrets, body)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
        return await self._read()

    def _key_of(self, secret: dict[str, Any]) -> bytes:
        data = secret.get("data")
        try:
            key = base64.b64decode(str((data or {}).get(KEY_NAME, "")), validate=True)
        except (binascii.Error, AttributeError, ValueError):
            key = b""
        if not key:
            raise NoKey(
                f'Secret "{self._key_secret}" has no HMAC key under "{KEY_NAME}"; '
                "delete it and it is made again"
            )
        return key
