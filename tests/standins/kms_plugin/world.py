"""A running plugin for one test: its socket, a fake Vault, and a kube-apiserver's side.

`Apiserver` keeps to what k8s.io/apiserver v0.34.3 does with the answers: the limits that
it checks, and when the seed that it writes with goes on, is replaced, or runs out.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from standins.common.serving import grpc_socket
from standins.kms_plugin.api import (
    LARGEST_REQUEST,
    SCHEMA,
    SERVICE,
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
    StatusRequest,
    StatusResponse,
)
from standins.kms_plugin.login import Pace, Session
from standins.kms_plugin.service import KeyService
from standins.kms_plugin.transit import Transit
from standins.kms_plugin.vault import Vault
from standins.kms_plugin.watch import Watch
from tests.standins.kms_plugin.fakevault import (
    APPROLE,
    MOUNT,
    NAME,
    ROLE_ID,
    SECRET_ID,
    FakeVault,
)

Code = grpc.StatusCode
SEED = b"canary-seed-of-thirty-two-bytes!"
PATIENCE = 10.0


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Client:
    """The three calls over the real socket."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._status = SCHEMA.call(channel, f"/{SERVICE}/Status", StatusResponse)
        self._encrypt = SCHEMA.call(channel, f"/{SERVICE}/Encrypt", EncryptResponse)
        self._decrypt = SCHEMA.call(channel, f"/{SERVICE}/Decrypt", DecryptResponse)

    async def call_bytes(self, method: str, data: bytes) -> bytes:
        """The answer to a request that is bytes already, well-formed or not."""
        answer: bytes = await self._channel.unary_unary(f"/{SERVICE}/{method}")(
            data, timeout=PATIENCE
        )
        return answer

    async def status(self, timeout: float = PATIENCE) -> StatusResponse:
        answer: StatusResponse = await self._status(
            StatusRequest(), timeout=timeout, wait_for_ready=True
        )
        assert answer.version == "v2"
        return answer

    async def encrypt(
        self, plaintext: bytes = SEED, uid: str = "uid-e", timeout: float = PATIENCE
    ) -> EncryptResponse:
        answer: EncryptResponse = await self._encrypt(
            EncryptRequest(plaintext, uid), timeout=timeout
        )
        valid(answer)
        return answer

    async def decrypt(
        self, stored: EncryptResponse, uid: str = "uid-d", timeout: float = PATIENCE
    ) -> bytes:
        answer: DecryptResponse = await self._decrypt(
            DecryptRequest(stored.ciphertext, uid, stored.key_id, stored.annotations),
            timeout=timeout,
        )
        return answer.plaintext


class Apiserver:
    """How kube-apiserver keeps the seed that it writes with."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seed: EncryptResponse | None = None

    async def poll(self) -> tuple[bool, str]:
        """Ask for the status: whether writing may go on for 3 more minutes, and the health."""
        status = await self._client.status()
        if not status.key_id:
            return False, status.healthz
        if self.seed is None or self.seed.key_id != status.key_id:
            try:
                found = await self._client.encrypt()
            except grpc.aio.AioRpcError as error:
                return False, f"{status.healthz} | {error.details()}"
            assert found.key_id == status.key_id, "kube-apiserver refuses to rotate"
            self.seed = found
        return True, status.healthz


def valid(answer: EncryptResponse) -> None:
    """What ValidateEncryptedObject of k8s.io/apiserver checks."""
    assert 0 < len(answer.ciphertext) <= 1024
    assert 0 < len(answer.key_id) <= 1024
    for name in answer.annotations:
        assert re.fullmatch(
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+", name
        )
    assert sum(len(k) + len(v) for k, v in answer.annotations.items()) <= 32 * 1024


class World:
    """What a test drives."""

    def __init__(self, vault: FakeVault, session: Session, clock: Clock, client: Client) -> None:
        self.vault = vault
        self.session = session
        self.clock = clock
        self.client = client
        self.apiserver = Apiserver(client)

    async def refusal(self, call: Awaitable[object], code: grpc.StatusCode, *words: str) -> str:
        """The text of a call that must fail with this code and these words."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        text = str(caught.value.details())
        assert caught.value.code() is code, text
        for word in words:
            assert word in text
        return text


def id_files(folder: Path) -> tuple[Path, Path]:
    """Files with the IDs that the fake knows."""
    role, secret = folder / "role_id", folder / "secret_id"
    role.write_text(ROLE_ID + "\n")
    secret.write_text(SECRET_ID + "\n")
    return role, secret


@asynccontextmanager
async def world(
    folder: Path, *, timeout: float = 2.0, pace: Pace | None = None, round_trip: float = 30.0
) -> AsyncIterator[World]:
    """A plugin on a socket in `folder`. Its clock stands until the test moves it."""
    fake, clock = FakeVault(), Clock()
    role, secret = id_files(folder)
    socket = folder / "kms.sock"
    async with fake.served() as address:
        vault = Vault(address, timeout=timeout)
        session = Session(vault, APPROLE, str(role), str(secret), pace=pace, clock=clock)
        transit = Transit(vault, session, MOUNT, NAME)
        watch = Watch(vault, transit, round_trip=round_trip, clock=clock)
        handlers = KeyService(vault, transit, watch).handlers()
        options = (("grpc.max_receive_message_length", LARGEST_REQUEST),)
        try:
            async with (
                grpc.aio.insecure_channel(f"unix:{socket}") as channel,
                grpc_socket(handlers, str(socket), options=options),
            ):
                yield World(fake, session, clock, Client(channel))
        finally:
            await vault.close()


def in_world(folder: Path, scenario: Callable[[World], Awaitable[None]], **options: Any) -> None:
    """Run one scenario in an event loop of its own."""

    async def play() -> None:
        async with world(folder, **options) as there:
            await scenario(there)

    asyncio.run(play())


def changed(stored: EncryptResponse, **fields: Any) -> EncryptResponse:
    """The same object with other fields."""
    values = {
        "ciphertext": stored.ciphertext,
        "key_id": stored.key_id,
        "annotations": stored.annotations,
    }
    return EncryptResponse(**values | fields)


def stamp_changes(file: Path) -> None:
    """Make sure that a file looks changed, whatever the clock of the file system does."""
    found = file.stat()
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1_000_000))
