"""From Vault's answer to a file's content, and the version of that content."""

from __future__ import annotations

import json
from typing import Any

import pytest

from standins.common import gojson
from standins.common.vault import VaultError
from standins.csi_provider.errors import MountError
from standins.csi_provider.objects import SecretObject
from standins.csi_provider.secret import Secret, content, parse_secret
from standins.csi_provider.versions import object_version

KEY = b"0123456789abcdef0123456789abcdef"


def made(data: str, key: str = "", encoding: str = "") -> bytes:
    """The content for an object of the answer whose data is this JSON."""
    entry = SecretObject(path="p", key=key, encoding=encoding)
    return content(entry, parse_secret(gojson.loads(f'{{"data":{data}}}')))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"k":"plain \\u00fc"}', "plain ü"),
        ('{"k":""}', ""),
        ('{"k":7}', "7"),
        ('{"k":1.10}', "1.10"),
        ('{"k":123456789012345678901234567890}', "123456789012345678901234567890"),
        ('{"k":true}', "true"),
        ('{"k":null}', "null"),
        ('{"k":["a",1]}', '["a",1]'),
        ('{"k":{"b":"<&>","a":1.0}}', '{"a":1.0,"b":"\\u003c\\u0026\\u003e"}'),
        ('{"k":"half \\ud800"}', "half \ufffd"),
        # KV v2 nests; a field called data that is no map does not.
        ('{"data":{"k":"inner"},"metadata":{},"k":"outer"}', "inner"),
        ('{"data":"text","k":"outer"}', "outer"),
        ('{"data":null,"k":"outer"}', "outer"),
    ],
)
def test_a_key_of_any_type(data: str, expected: str) -> None:
    assert made(data, key="k").decode() == expected


@pytest.mark.parametrize(
    ("encoding", "value", "expected"),
    [
        ("", "aGk=", b"aGk="),
        ("utf-8", "aGk=", b"aGk="),
        ("UTF-8", "aGk=", b"aGk="),
        ("base64", "aGk=", b"hi"),
        ("Base64", "aG\\nk=\\r\\n", b"hi"),
        ("base64", "/+8=", b"\xff\xef"),
        ("hex", "6869", b"hi"),
        ("HEX", "FFef", b"\xff\xef"),
    ],
)
def test_encodings_decode(encoding: str, value: str, expected: bytes) -> None:
    assert made(f'{{"k":"{value}"}}', key="k", encoding=encoding) == expected


@pytest.mark.parametrize(
    ("encoding", "value"),
    [
        ("base64", "aGk"),
        ("base64", "a Gk="),
        ("base64", "_-8="),
        ("base64", "aGk==="),
        ("hex", "686"),
        ("hex", "zz"),
        ("hex", "68 69"),
        ("rot13", "canary"),
        ("utf8", "canary"),
    ],
)
def test_what_does_not_decode_is_refused_without_the_value(encoding: str, value: str) -> None:
    with pytest.raises(MountError, match=r"^\{p\}: \{") as caught:
        made(f'{{"k":"{value}"}}', key="k", encoding=encoding)
    assert value not in str(caught.value)


def test_encoding_is_ignored_for_a_whole_answer() -> None:
    assert json.loads(made('{"k":"v"}', encoding="base64"))["data"] == {"k": "v"}


def test_a_missing_key_is_named() -> None:
    with pytest.raises(MountError) as caught:
        made('{"data":{"a":"canary"}}', key="k")
    assert str(caught.value) == '{p}: {key "k" does not exist at the secret path}'


def test_the_whole_answer_keeps_its_lease() -> None:
    body = {
        "lease_id": "database/creds/ro/1",
        "lease_duration": 3600,
        "renewable": True,
        "request_id": "r",
        "data": {"z": 1, "a": "x"},
        "warnings": ["careful"],
        "mount_type": "database",
        "wrap_info": None,
    }
    assert content(SecretObject(path="p"), parse_secret(gojson.loads(json.dumps(body)))) == (
        b'{"request_id":"r","lease_id":"database/creds/ro/1","lease_duration":3600,'
        b'"renewable":true,"data":{"a":"x","z":1},"warnings":["careful"],"mount_type":"database"}'
    )


def test_a_login_in_a_whole_answer_has_the_fields_of_the_go_client() -> None:
    body = {"auth": {"policies": ["b", "a"], "Client_Token": "t", "new": 1, "metadata": {"z": "1"}}}
    assert content(SecretObject(path="p"), parse_secret(gojson.loads(json.dumps(body)))) == (
        b'{"request_id":"","lease_id":"","lease_duration":0,"renewable":false,"data":null,'
        b'"warnings":null,"auth":{"client_token":"t","accessor":"","policies":["b","a"],'
        b'"token_policies":null,"identity_policies":null,"metadata":{"z":"1"},"orphan":false,'
        b'"entity_id":"","lease_duration":0,"renewable":false,"mfa_requirement":null}}'
    )


@pytest.mark.parametrize(
    "body", ['{"data": 12345}', '{"data": []}', '{"renewable": 1}', '{"lease_duration": 1.5}']
)
def test_an_answer_of_other_types_is_refused_and_not_quoted(body: str) -> None:
    with pytest.raises(VaultError) as caught:
        parse_secret(gojson.loads(body))
    assert "12345" not in str(caught.value)


def test_an_answer_without_the_usual_frame_is_all_data() -> None:
    assert parse_secret({"initialized": True, "sealed": False}).data == {
        "initialized": True,
        "sealed": False,
    }


@pytest.mark.parametrize("body", [{}, {"errors": []}, {"request_id": "r", "data": None}])
def test_an_answer_without_data_has_none(body: dict[str, Any]) -> None:
    assert not parse_secret(body).data


def test_data_is_not_in_the_repr() -> None:
    secret = Secret(data={"k": "canary"}, auth={"client_token": "canary"})
    assert "canary" not in repr(secret)


def test_versions_are_those_of_the_real_provider() -> None:
    # Both computed by a Go program from the description in interfaces.md 2.4.
    plain = SecretObject(name="password", path="secret/data/app", key="password")
    assert object_version(plain, KEY, b"s3cret") == "wDhFuwFoj7lPeD_T4RPHOaSxSdxzILtLMF0RZ3xvBbI="
    full = SecretObject(
        name="cert",
        path="pki/issue/web",
        key="certificate",
        method="PUT",
        args={"ttl": "24h", "common_name": "a<b>&c", "n": 5, "list": [1, True, None], "f": 2.5},
        mode=0o624,
        encoding="base64",
    )
    assert object_version(full, KEY, b"s3cret") == "4vmC9WrVOmg-DQFyw5EBhyRJHWz6kEtixxs4cglCSOQ="


def test_a_version_tells_content_object_and_key_apart() -> None:
    one, two = SecretObject(name="one"), SecretObject(name="two")
    versions = {
        object_version(one, KEY, b"x"),
        object_version(one, KEY, b"y"),
        object_version(two, KEY, b"x"),
        object_version(one, KEY[::-1], b"x"),
    }
    assert len(versions) == 4
    assert object_version(one, b"", b"x") == ""
