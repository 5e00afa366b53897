"""Random messages to the plugin: each is answered with a known status, and nothing is told."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from standins.kms_plugin.api import (
    SCHEMA,
    DecryptRequest,
    EncryptRequest,
    EncryptResponse,
    StatusRequest,
)
from tests.standins import mutations
from tests.standins.kms_plugin.fakevault import ROLE_ID, SECRET_ID
from tests.standins.kms_plugin.world import SEED, World, in_world


def message(stored: EncryptResponse, chance: random.Random) -> tuple[str, bytes]:
    """A method and the bytes of a request for it, most often with something wrong."""
    plain = chance.choice(
        (SEED, b"", b"x", bytes(2000), bytes(chance.randrange(256) for _ in "12"))
    )
    wanted: dict[str, Any] = {
        "Status": StatusRequest(),
        "Encrypt": EncryptRequest(plain, chance.choice(("uid", "", "u" * 500, "\n"))),
        "Decrypt": DecryptRequest(
            mutations.changed_bytes(stored.ciphertext, chance)
            if chance.random() < 0.5
            else stored.ciphertext,
            "uid",
            mutations.changed_text(stored.key_id, chance).encode("utf-8", "replace").decode()
            if chance.random() < 0.3
            else stored.key_id,
            {mutations.changed_text("a", chance).encode("utf-8", "replace").decode(): b"1"}
            if chance.random() < 0.2
            else stored.annotations,
        ),
    }
    method = chance.choice(list(wanted))
    data = SCHEMA.encode(wanted[method])
    return method, mutations.changed_bytes(data, chance) if chance.random() < 0.4 else data


@pytest.mark.fuzz
def test_messages_at_random(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chance = mutations.chances("kms")
    codes: dict[str, int] = {}
    told: list[str] = []
    hidden: list[str] = [SEED.decode(), ROLE_ID, SECRET_ID]

    async def scenario(there: World) -> None:
        stored = await there.client.encrypt()
        hidden.append(stored.ciphertext.decode().rpartition(":")[2])
        for _ in mutations.rounds():
            method, data = message(stored, chance)
            try:
                await there.client.call_bytes(method, data)
                outcome = "OK"
            except grpc.aio.AioRpcError as error:
                outcome = error.code().name
                told.append(str(error.details()))
            codes[outcome] = codes.get(outcome, 0) + 1
        # The plugin is as it was.
        assert (await there.client.status()).healthz == "ok"
        assert await there.client.decrypt(stored) == SEED

    in_world(tmp_path, scenario)
    assert set(codes) <= {
        "OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "INTERNAL", "RESOURCE_EXHAUSTED"
    }  # fmt: skip
    tenth = sum(codes.values()) // 10
    assert codes["OK"] > tenth
    assert codes["INVALID_ARGUMENT"] > tenth
    for text in hidden:
        assert not [each for each in told if text in each]
        assert text not in caplog.text
    assert not [each for each in told if "defect" in each]
