"""What the provider asks of its cluster: a pod's token, and the key of object versions.

A token is asked for only when kubelet sent none for the audience. The key lives in an
immutable Secret that whichever provider comes first creates, so that all nodes give
the same version to the same content.
"""

from __future__ import annotations

from standins.common.keys import FIELD, shared_key
from standins.common.kube import Kube, KubeError
from standins.csi_provider.errors import MountError
from standins.csi_provider.parameters import Pod

TOKEN_SECONDS = 15 * 60
KEY_BYTES = 32


class NoKey(Exception):
    """There is no usable HMAC key; mounts go on without versions."""


class Cluster:
    """The cluster behind an API client."""

    def __init__(self, kube: Kube, key_secret: str) -> None:
        self._kube = kube
        self._key_secret = key_secret

    async def pod_token(self, pod: Pod, audience: str) -> str:
        """A new service-account token, bound to `pod`. Raises MountError.

        Without an audience the token gets the API server's default.
        """
        bound = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
        try:
            return await self._kube.service_account_token(
                pod.namespace, pod.account, [audience] if audience else [], TOKEN_SECONDS, bound
            )
        except KubeError as error:
            raise MountError(
                f"failed to create a service account token for requesting pod {pod}: {error}"
            ) from None

    async def hmac_key(self) -> bytes:
        """The key for object versions, created if there is none. Raises NoKey.

        It is read each time: a key that was deleted is to be replaced.
        """
        try:
            key = await shared_key(self._kube, self._kube.namespace, self._key_secret, KEY_BYTES)
        except KubeError as error:
            raise NoKey(str(error)) from None
        if not key:
            raise NoKey(
                f'Secret "{self._key_secret}" has no HMAC key under "{FIELD}"; '
                "delete it and it is made again"
            )
        return key
