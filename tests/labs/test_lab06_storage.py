"""What lab 06 says about bytes in etcd, without a cluster."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from harness.base.errors import CheckFailed
from harness.controlplane.settings import Settings
from harness.lab.context import LabContext
from harness.lab.kit import etcd
from labs.lab06_encryption import ciphers, encrypt, kms
from labs.lab06_encryption.lab import encryption
from tests.fakes.lab import World


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabContext:
    """The lab with a control plane of which a test says what it holds."""
    from tests.fakes.lab import make_world

    world: World = make_world(tmp_path, monkeypatch)
    context = LabContext(world.lab().access, encryption)
    context.__dict__["control_plane"] = SimpleNamespace(
        raw=lambda key: STORE.get(key, b""),
        current=lambda: Settings(),
    )
    STORE.clear()
    return context


STORE: dict[str, bytes] = {}


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


ANNOTATION = field(1, b"key-version") + field(2, b"2")
MESSAGE = (
    field(1, bytes(300))
    + field(2, b"lab06-transit/kubernetes:v2:1795611365")
    + field(3, b"vault:v2:abcdef")
    + field(4, ANNOTATION)
    + varint(5 << 3)
    + varint(1)
)


def test_what_stands_in_the_clear_in_a_kms_value(lab: LabContext) -> None:
    STORE["/registry/secrets/lab06/app"] = b"k8s:enc:kms:v2:vault:" + MESSAGE
    found = kms.opened(lab, "app")
    assert found.key_id == "lab06-transit/kubernetes:v2:1795611365"
    assert found.annotations == {"key-version": "2"}
    assert len(found.data) == 300
    assert kms.version_of(found.seed) == 2


@pytest.mark.parametrize("value", [b"", b"k8s\x00plain", b"k8s:enc:aescbc:v1:cbc1:xyz"])
def test_a_value_of_another_writer_has_no_envelope(lab: LabContext, value: bytes) -> None:
    STORE["/registry/secrets/lab06/app"] = value
    found = kms.opened(lab, "app")
    assert (found.key_id, found.annotations) == ("", {})
    assert kms.version_of(found.seed) == 0


def test_keys_have_the_length_that_every_provider_takes_and_differ(lab: LabContext) -> None:
    keys = {encrypt.key(lab, name) for name in ("cbc1", "gcm1", "box1", "box2")}
    assert len(keys) == 4
    assert {len(base64.b64decode(key)) for key in keys} == {32}
    assert encrypt.key(lab, "cbc1") == encrypt.key(lab, "cbc1")


def test_a_configuration_lists_its_providers_in_order(lab: LabContext) -> None:
    text = encrypt.configuration(lab, "kms", "secretbox box2", "secretbox box1", "identity")
    (entry,) = yaml.safe_load(text)["resources"]
    first, second, third = entry["providers"]
    assert first["kms"]["apiVersion"] == "v2"
    assert [key["name"] for key in second["secretbox"]["keys"]] == ["box2", "box1"]
    assert third == {"identity": {}}


def encrypted(name: str, plain: int) -> bytes:
    """A value as long as the cipher makes it."""
    sizes = {
        "cbc": 16 + (plain // 16 + 1) * 16,
        "gcm": 12 + plain + 16,
        "box": 24 + plain + 16,
    }
    return f"k8s:enc:{ciphers.BY[name]}:".encode() + bytes(sizes[name])


@pytest.mark.parametrize("plain", [15, 16, 17, 3555])
def test_lengths_fit_when_the_plain_texts_are_equally_long(lab: LabContext, plain: int) -> None:
    for name in ciphers.BY:
        STORE[f"/registry/secrets/lab06/{name}"] = encrypted(name, plain)
    assert ciphers.fits(lab)
    STORE["/registry/secrets/lab06/box"] = encrypted("box", plain + 1)
    assert not ciphers.fits(lab)


def test_lengths_do_not_fit_when_nothing_is_encrypted(lab: LabContext) -> None:
    assert not ciphers.fits(lab)
    for name in ciphers.BY:
        STORE[f"/registry/secrets/lab06/{name}"] = b"k8s\x00" + bytes(400)
    assert not ciphers.fits(lab)


def test_who_wrote_a_secret(lab: LabContext) -> None:
    assert encrypt.prefix(lab, "app") == ""
    STORE["/registry/secrets/lab06/app"] = b"k8s\x00\n"
    assert encrypt.prefix(lab, "app") == "plain"
    STORE["/registry/secrets/lab06/app"] = b"k8s:enc:aesgcm:v1:gcm1:\x00"
    assert encrypt.prefix(lab, "app") == "aesgcm:v1:gcm1"
    with pytest.raises(CheckFailed, match="nobody encrypts"):
        encrypt.expect_writer(lab, "aesgcm:v1:gcm1", "aesgcm writes")


def test_readable_bytes_show_no_secret(lab: LabContext) -> None:
    value = b"k8s\x00" + lab.secret("stored").encode() + b"\xff" * 500
    shown = etcd.readable(value)
    assert shown.startswith("k8s·‹secret›··")
    assert lab.secret("stored") not in shown
    assert shown.endswith("·· …")


def test_the_plugin_runs_without_rights(lab: LabContext) -> None:
    lab.access.images["standins"] = "standins:1"  # type: ignore[index] # a plain dict here
    pod = kms.plugin_pod(lab)
    security = pod["spec"]["containers"][0]["securityContext"]
    assert security["runAsNonRoot"]
    assert security["readOnlyRootFilesystem"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "--transit-mount=lab06-transit" in pod["spec"]["containers"][0]["command"]
    capabilities = kms.transit_policy(lab).splitlines()
    assert len(capabilities) == 3
    assert all("lab06-transit/" in line and line.count("kubernetes") == 1 for line in capabilities)
