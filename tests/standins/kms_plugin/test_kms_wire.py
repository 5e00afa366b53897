"""Every message on the wire: the fields of the .proto, odd bytes, nothing secret in a repr."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import DecodeError

from standins.common.wire import Message
from standins.kms_plugin.api import (
    SCHEMA,
    SERVICE,
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
    StatusRequest,
    StatusResponse,
)
from tests.standins.csi_provider.test_csi_wire import compiled, fields
from tests.standins.kms_plugin.fakevault import MOUNT, NAME
from tests.standins.kms_plugin.world import Client, World, in_world

PROTO = Path(__file__).resolve().parents[3] / "standins" / "kms_plugin" / "kms.proto"
ANNOTATIONS = {"a.test": b"", "b.test": b"\x00\xff"}
# Each message with the bytes that other implementations make of it, written by hand.
MESSAGES: list[tuple[Message, bytes]] = [
    (StatusRequest(), b""),
    (StatusResponse("v2", "ok", "k"), b"\x0a\x02v2\x12\x02ok\x1a\x01k"),
    (
        DecryptRequest(b"\x01\x02", "u", "k", ANNOTATIONS),
        b"\x0a\x02\x01\x02\x12\x01u\x1a\x01k\x22\x0a\x0a\x06a.test\x12\x00"
        b"\x22\x0c\x0a\x06b.test\x12\x02\x00\xff",
    ),
    (DecryptResponse(b"\xff"), b"\x0a\x01\xff"),
    (EncryptRequest(b"\xff", "u"), b"\x0a\x01\xff\x12\x01u"),
    (
        EncryptResponse(b"c", "k", {"b.test": b"1"}),
        b"\x0a\x01c\x12\x01k\x1a\x0b\x0a\x06b.test\x12\x011",
    ),
]
each_message = pytest.mark.parametrize(
    ("message", "data"), MESSAGES, ids=[type(message).__name__ for message, _ in MESSAGES]
)


def test_the_classes_and_the_proto_agree(tmp_path: Path) -> None:
    file = compiled(PROTO, tmp_path)
    assert SCHEMA.package == file.package
    assert fields(SCHEMA.file) == fields(file)
    assert maps(SCHEMA.file) == maps(file) != {}
    assert [f"{file.package}.{service.name}" for service in file.service] == [SERVICE]
    (service,) = file.service
    calls = {(m.name, m.input_type, m.output_type) for m in service.method}
    assert calls == {
        (name, f".v2.{name}Request", f".v2.{name}Response")
        for name in ("Status", "Encrypt", "Decrypt")
    }


def maps(file: Any) -> dict[str, list[tuple[Any, ...]]]:
    """The entries of each map field."""
    return {
        f"{message.name}.{entry.name}": [
            (field.number, field.name, field.label, field.type) for field in entry.field
        ]
        for message in file.message_type
        for entry in message.nested_type
        if entry.options.map_entry
    }


@each_message
def test_a_message_has_the_bytes_that_others_know(message: Message, data: bytes) -> None:
    assert SCHEMA.decode(type(message), data) == message
    # The order of a map's entries is free, so the bytes are compared by reading them again.
    assert SCHEMA.decode(type(message), SCHEMA.encode(message)) == message
    assert sorted(SCHEMA.encode(message)) == sorted(data)


@each_message
def test_no_bytes_are_an_empty_message(message: Message, data: bytes) -> None:
    kind = type(message)
    assert SCHEMA.decode(kind, b"") == kind()
    assert SCHEMA.encode(kind()) == b""


@each_message
def test_fields_of_a_newer_kubernetes_are_ignored(message: Message, data: bytes) -> None:
    assert SCHEMA.decode(type(message), data + b"\x7a\x03new\xf8\x07\x01") == message


@each_message
@pytest.mark.parametrize("tail", [b"\x0a", b"\x0a\x7f\x00", b"\x00", b"\xff" * 11, b"\x0b"])
def test_malformed_bytes_are_an_error(message: Message, data: bytes, tail: bytes) -> None:
    with pytest.raises(DecodeError):
        SCHEMA.decode(type(message), data + tail)


@pytest.mark.parametrize(
    "data", [b"\x12\x01\xff", b"\x1a\x01\xff", b"\x22\x05\x0a\x01\xff\x12\x00"]
)
def test_text_that_is_no_utf8_is_an_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        SCHEMA.decode(DecryptRequest, data)


def test_what_is_secret_is_not_in_a_repr() -> None:
    shown = "".join(
        repr(message)
        for message in (
            EncryptRequest(b"canary", "uid-1"),
            EncryptResponse(b"canary", "k"),
            DecryptRequest(b"canary", "uid-2"),
            DecryptResponse(b"canary"),
        )
    )
    assert "canary" not in shown
    assert "uid-1" in shown


@pytest.mark.parametrize("data", [b"\x0a", b"\xff" * 20, b"\x12\x01\xff"])
def test_a_malformed_request_harms_only_itself(tmp_path: Path, data: bytes) -> None:
    async def scenario(there: World) -> None:
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/kms.sock") as channel:
            raw = channel.unary_unary(f"/{SERVICE}/Decrypt")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw(data, timeout=10)
            # As grpc-go, which the API server's other plugins are written with.
            assert caught.value.code() is grpc.StatusCode.INTERNAL
            other = channel.unary_unary(f"/{SERVICE}/Rotate")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await other(b"", timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert (await there.client.status()).healthz == "ok"
        assert there.vault.count(f"{MOUNT}/decrypt/{NAME}") == 1

    in_world(tmp_path, scenario)


def test_a_client_of_another_process_is_served(tmp_path: Path) -> None:
    """Several kube-apiservers in turn use one socket: after a restart there is a new client."""

    async def scenario(there: World) -> None:
        stored = await there.client.encrypt()
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/kms.sock") as channel:
            found = await asyncio.gather(*(Client(channel).decrypt(stored) for _ in range(5)))
            assert len(set(found)) == 1

    in_world(tmp_path, scenario)
