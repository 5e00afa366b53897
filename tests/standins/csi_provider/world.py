"""A running provider with everything around it, for one test: socket, Vault, cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from standins.common.connection import Connection
from standins.csi_provider.api import (
    SCHEMA,
    MountRequest,
    MountResponse,
    VersionRequest,
    VersionResponse,
)
from standins.csi_provider.cluster import Cluster, NoKey
from standins.csi_provider.errors import MountError
from standins.csi_provider.mount import Provider
from standins.csi_provider.parameters import Pod
from standins.csi_provider.server import serving
from standins.csi_provider.transport import Patience, Transport
from standins.csi_provider.vault import ClientCache
from tests.standins.csi_provider.fakevault import ROLE, FakeVault

KEY = b"0123456789abcdef0123456789abcdef"
QUICK = Patience(retries=2, wait=0.01, timeout=10)
PASSWORD = "- {objectName: password, secretPath: secret/data/app, secretKey: password}"


class FakeCluster(Cluster):
    """Tokens and a key without an API server."""

    def __init__(self) -> None:
        self.key: bytes | None = KEY
        self.made: list[tuple[Pod, str]] = []
        self.refusal = ""

    async def pod_token(self, pod: Pod, audience: str) -> str:
        """The fake Vault knows this one as the account `app`."""
        if self.refusal:
            raise MountError(self.refusal)
        self.made.append((pod, audience))
        return "jwt-app"

    async def hmac_key(self) -> bytes:
        """The fixed key, or none."""
        if self.key is None:
            raise NoKey("the API server is away")
        return self.key


class World:
    """What a test drives: `mount` goes over the real socket."""

    def __init__(
        self, vault: FakeVault, cluster: FakeCluster, provider: Provider, channel: Any
    ) -> None:
        self.vault = vault
        self.cluster = cluster
        self.provider = provider
        service = "/v1alpha1.CSIDriverProvider/"
        self._mount = SCHEMA.call(channel, service + "Mount", MountResponse)
        # The same for a request that is bytes already, well-formed or not.
        self.mount_bytes = channel.unary_unary(
            service + "Mount", response_deserializer=lambda data: SCHEMA.decode(MountResponse, data)
        )
        self._version = SCHEMA.call(channel, service + "Version", VersionResponse)

    def request(
        self,
        objects: str = PASSWORD,
        *,
        pod: str = "web",
        tokens: dict[str, str] | None = None,
        permission: str = "420",
        target: str = "/target",
        without: tuple[str, ...] = (),
        **parameters: str,
    ) -> MountRequest:
        """A request as the driver makes it; `parameters` are the class's own."""
        kubelet = {audience: {"token": token} for audience, token in (tokens or {}).items()}
        attributes = {
            "roleName": ROLE,
            "vaultAddress": self.vault.base,
            "objects": objects,
            "csi.storage.k8s.io/pod.name": pod,
            "csi.storage.k8s.io/pod.uid": f"uid-{pod}",
            "csi.storage.k8s.io/pod.namespace": "demo",
            "csi.storage.k8s.io/serviceAccount.name": "app",
            "csi.storage.k8s.io/serviceAccount.tokens": json.dumps(kubelet),
            "csi.storage.k8s.io/ephemeral": "true",
            "secretProviderClass": "vault-app",
            **parameters,
        }
        for name in without:
            attributes.pop(name)
        return MountRequest(
            attributes=json.dumps(attributes),
            secrets="{}",
            target_path=target,
            permission=permission,
        )

    async def mount(self, objects: str = PASSWORD, **rest: Any) -> dict[str, bytes]:
        """The files of a mount by name; kubelet's token is there unless `tokens` says else."""
        rest.setdefault("tokens", {"vault": "jwt-app"})
        answer = await self.send(self.request(objects, **rest))
        return {file.path: file.contents for file in answer.files}

    async def send(self, request: MountRequest, timeout: float = 20) -> MountResponse:
        """The answer to a request made elsewhere."""
        answer: MountResponse = await self._mount(request, timeout=timeout)
        return answer

    async def version(self) -> VersionResponse:
        """The answer of the health check."""
        answer: VersionResponse = await self._version(VersionRequest("v1alpha1"), timeout=5)
        return answer

    async def refusal(self, objects: str = PASSWORD, **rest: Any) -> str:
        """The text of a mount that must fail, with the status the driver expects."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.mount(objects, **rest)
        assert caught.value.code() is grpc.StatusCode.UNKNOWN
        return str(caught.value.details())


@asynccontextmanager
async def world(
    folder: Path,
    *,
    cache: int = 1000,
    patience: Patience = QUICK,
    flags: Connection | None = None,
    environment: Connection | None = None,
) -> AsyncIterator[World]:
    """A provider on a socket in `folder`, and a fake Vault and cluster for it."""
    vault, cluster, transport = FakeVault(), FakeCluster(), Transport(patience)
    clients = ClientCache(
        transport,
        cache,
        environment=environment or Connection(address="http://127.0.0.1:1"),
        flags=flags or Connection(),
        default_mount="kubernetes",
    )
    provider = Provider(clients, cluster)
    endpoint = str(folder / "vault.sock")
    try:
        async with (
            vault.served(),
            # Opened before the server and closed after it, so that ending it can be watched.
            grpc.aio.insecure_channel(f"unix:{endpoint}") as channel,
            serving(provider, endpoint, "127.0.0.1:0"),
        ):
            yield World(vault, cluster, provider, channel)
    finally:
        await transport.close()


def in_world(folder: Path, scenario: Callable[[World], Awaitable[None]], **options: Any) -> None:
    """Run one scenario in an event loop of its own."""

    async def play() -> None:
        async with world(folder, **options) as there:
            await scenario(there)

    asyncio.run(play())
