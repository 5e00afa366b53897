"""The messages on the wire: same fields as the .proto, and no secret in a repr."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from standins.csi_provider.api import SCHEMA, File, MountRequest, MountResponse, ObjectVersion

STANDINS = Path(__file__).resolve().parents[3] / "standins"


def compiled(proto: Path, folder: Path) -> Any:
    """What protoc makes of a .proto file."""
    out = folder / "set.binpb"
    protoc = [sys.executable, "-m", "grpc_tools.protoc"]
    subprocess.run([*protoc, f"-I{proto.parent}", f"-o{out}", str(proto)], check=True)
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]


def fields(file: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Each message's fields: number, name, label, type, type of a nested message."""
    return {
        message.name: sorted(
            (field.number, field.name, field.label, field.type, field.type_name)
            for field in message.field
        )
        for message in file.message_type
    }


@pytest.mark.parametrize(
    ("proto", "module"),
    [
        ("csi_provider/provider.proto", "standins.csi_provider.api"),
        ("registrar/registration.proto", "standins.registrar.api"),
        ("registrar/identity.proto", "standins.registrar.identity"),
    ],
)
def test_the_classes_and_the_proto_agree(tmp_path: Path, proto: str, module: str) -> None:
    file = compiled(STANDINS / proto, tmp_path)
    ours = importlib.import_module(module)
    assert ours.SCHEMA.package == file.package
    assert fields(ours.SCHEMA.file) == fields(file)
    services = [f"{file.package}.{service.name}" for service in file.service]
    assert services == [ours.SERVICE]


def test_a_message_survives_the_wire() -> None:
    answer = MountResponse(
        object_version=(ObjectVersion("a", "1"), ObjectVersion("b")),
        files=(File("a/b", 0o400, b"\x00\xff"),),
    )
    assert SCHEMA.decode(MountResponse, SCHEMA.encode(answer)) == answer


def test_fields_of_a_newer_driver_are_ignored() -> None:
    newer = SCHEMA.encode(MountRequest(target_path="/t")) + b"\x7a\x03new"
    assert SCHEMA.decode(MountRequest, newer) == MountRequest(target_path="/t")


def test_what_may_hold_a_secret_is_not_in_a_repr() -> None:
    shown = repr(MountRequest("canary", "canary", "/t")) + repr(File("f", 0o600, b"canary"))
    assert "canary" not in shown
    assert "/t" in shown
