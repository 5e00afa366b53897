"""What Vault could answer and never does: each is one named problem, none a crash."""

from __future__ import annotations

import asyncio
import base64
from typing import Any, cast

import pytest

from standins.common import gojson
from standins.kms_plugin.errors import Problem, Unreachable, Unsuitable
from standins.kms_plugin.login import Session
from standins.kms_plugin.transit import Key, Transit, Version
from standins.kms_plugin.vault import Vault

KEY = (
    '{"supports_encryption": true, "supports_decryption": true, "derived": false,'
    ' "type": "aes256-gcm96", "keys": {"1": 1700000000, "2": 1700000001}, "latest_version": 2,'
    ' "min_available_version": 0, "min_decryption_version": 1, "min_encryption_version": 0}'
)
SEED = b"canary-seed-of-thirty-two-bytes!"


class OneAnswer:
    """A Vault that has one answer to everything, and a session with its token."""

    address = "https://vault.test:8200"

    def __init__(self, body: str) -> None:
        self._body = gojson.loads(body)

    async def send(self, *_request: Any) -> Any:
        return self._body

    async def token(self) -> str:
        return "token"


def transit(body: str) -> Transit:
    """The Transit of a Vault with this answer."""
    vault = OneAnswer(body)
    return Transit(cast(Vault, vault), cast(Session, vault), "transit", "key")


def test_a_key_is_read() -> None:
    found = asyncio.run(transit(f'{{"data": {KEY}}}').key())
    assert found == Key(Version(2, "1700000001"), {1: "1700000000", 2: "1700000001"}, 0, 1, 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"latest_version": 2', '"latest_version": 1e999'),
        ('"latest_version": 2', '"latest_version": 2.0'),
        ('"latest_version": 2', '"latest_version": true'),
        ('"latest_version": 2', '"latest_version": "2"'),
        ('"latest_version": 2', f'"latest_version": {"9" * 400}'),
        ('"latest_version": 2', '"latest_version": 3'),
        ('"2": 1700000001', '"\u0662": 1700000001'),
        ('"2": 1700000001', '"0_2": 1700000001'),
        ('"2": 1700000001', '"2": 1e400'),
        ('"2": 1700000001', '"2": null'),
        ('"2": 1700000001', '"2": {"creation_time": "a b"}'),
        ('"supports_encryption": true', '"supports_encryption": "yes"'),
        ('"derived": false', '"derived": null'),
        ('"keys": {', '"keys": [], "x": {'),
        (KEY, "null"),
        (KEY, "[1]"),
        (KEY, '"text"'),
    ],
)
def test_a_key_that_is_described_wrongly(old: str, new: str) -> None:
    with pytest.raises(Unsuitable):
        asyncio.run(transit(f'{{"data": {KEY}}}'.replace(old, new)).key())


@pytest.mark.parametrize(
    "data",
    ["null", "[]", '"x"', "5", "{}", '{"plaintext": 5}', '{"plaintext": null}', '{"plaintext": []}',
     '{"plaintext": ""}', '{"plaintext": "aGk"}', '{"plaintext": "a Gk="}', '{"ciphertext": 1e999}',
     '{"plaintext": 1700}', '{"ciphertext": "vault:v2:AAAA"}'],
)  # fmt: skip
def test_an_answer_without_what_was_asked_for(data: str) -> None:
    there, version = transit(f'{{"data": {data}}}'), Version(1, "1")
    for work in (there.encrypt(SEED, version), there.decrypt(b"vault:v1:AAAA", version)):
        with pytest.raises(Unreachable) as caught:
            asyncio.run(work)
        assert "canary" not in str(caught.value)


def test_base64_in_lines_is_read() -> None:
    text = base64.b64encode(SEED).decode()
    body = gojson.dumps({"data": {"plaintext": f"{text[:20]}\n{text[20:]}\n"}})
    assert asyncio.run(transit(body).decrypt(b"vault:v1:AAAA", Version(1, "1"))) == SEED


@pytest.mark.parametrize(
    "seconds", ["1e999", "9" * 400, "true", '"3600"', "3600.5", "null", "9223372036854775808"]
)
def test_a_login_whose_lease_is_no_number(tmp_path: Any, seconds: str) -> None:
    for name in ("role", "secret"):
        (tmp_path / name).write_text("canary-id")
    vault = OneAnswer(f'{{"auth": {{"client_token": "t", "lease_duration": {seconds}}}}}')
    files = (str(tmp_path / "role"), str(tmp_path / "secret"))
    with pytest.raises(Problem, match="holds no token") as caught:
        asyncio.run(Session(cast(Vault, vault), "approle", *files).token())
    assert "canary" not in str(caught.value)
