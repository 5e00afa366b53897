"""The three calls over the socket: keys, versions, and requests that are not for us."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from standins.kms_plugin.service import ANNOTATION
from tests.standins.kms_plugin.fakevault import MOUNT, NAME
from tests.standins.kms_plugin.world import SEED, Code, World, changed, in_world


def test_what_is_encrypted_comes_back(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        status = await there.client.status()
        stored = await there.client.encrypt()
        birth = there.vault.key.versions[1][1]
        assert (status.healthz, status.key_id) == ("ok", f"{MOUNT}/{NAME}:v1:{birth}")
        assert stored.key_id == status.key_id
        assert stored.ciphertext.startswith(b"vault:v1:")
        assert stored.annotations == {ANNOTATION: b"1"}
        assert await there.client.decrypt(stored) == SEED
        assert there.vault.count("auth/lab06-approle/login") == 1

    in_world(tmp_path, scenario)


def test_encrypt_and_decrypt_need_no_status_before(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        assert await there.client.decrypt(await there.client.encrypt()) == SEED

    in_world(tmp_path, scenario)


def test_a_rotation_in_vault_shows_in_the_next_status(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        assert await there.apiserver.poll() == (True, "ok")
        first = there.apiserver.seed
        assert first is not None
        there.vault.key.rotate()
        assert await there.apiserver.poll() == (True, "ok")
        second = there.apiserver.seed
        assert second is not None
        assert second.key_id != first.key_id
        assert second.ciphertext.startswith(b"vault:v2:")
        assert second.annotations == {ANNOTATION: b"2"}
        for stored in (first, second):
            assert await there.client.decrypt(stored) == SEED

    in_world(tmp_path, scenario)


def test_encrypt_keeps_to_the_version_that_status_named(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        status = await there.client.status()
        there.vault.key.rotate()
        # kube-apiserver refuses an answer that does not fit the status it has just had.
        assert (await there.client.encrypt()).key_id == status.key_id

    in_world(tmp_path, scenario)


def test_a_version_that_may_not_encrypt_any_more(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.client.status()
        there.vault.key.rotate()
        there.vault.key.encrypts_from = 2
        await there.refusal(
            there.client.encrypt(), Code.FAILED_PRECONDITION, "version 1", "may not encrypt"
        )
        assert await there.apiserver.poll() == (True, "ok")
        assert (await there.client.encrypt()).ciphertext.startswith(b"vault:v2:")

    in_world(tmp_path, scenario)


def test_a_version_that_may_not_decrypt_any_more(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        stored = await there.client.encrypt()
        there.vault.key.rotate()
        there.vault.key.decrypts_from = 2
        await there.refusal(
            there.client.decrypt(stored),
            Code.FAILED_PRECONDITION,
            "version 1 of lab06-transit/kubernetes may not decrypt any more",
            "min_decryption_version is 2",
        )
        there.vault.key.decrypts_from = 1
        assert await there.client.decrypt(stored) == SEED

    in_world(tmp_path, scenario)


def test_a_version_that_vault_does_not_have(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        first = await there.client.encrypt()
        there.vault.key.rotate()
        await there.client.status()
        second = await there.client.encrypt()
        there.vault.key.decrypts_from = there.vault.key.kept_from = 2
        await there.refusal(
            there.client.decrypt(first), Code.FAILED_PRECONDITION, "which has 2 to 2: trimmed"
        )
        del there.vault.key.versions[2]
        there.vault.key.decrypts_from, there.vault.key.kept_from = 1, 0
        await there.refusal(
            there.client.decrypt(second), Code.FAILED_PRECONDITION, "which has 1 to 1: trimmed, or"
        )

    in_world(tmp_path, scenario)


def test_a_key_made_anew_is_another_key(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.apiserver.poll()
        stored = there.apiserver.seed
        assert stored is not None
        there.vault.remake()
        assert await there.apiserver.poll() == (True, "ok")
        assert there.apiserver.seed is not None
        assert there.apiserver.seed.key_id != stored.key_id
        await there.refusal(
            there.client.decrypt(stored), Code.FAILED_PRECONDITION, "another made under its name"
        )

    in_world(tmp_path, scenario)


@pytest.mark.parametrize("last", [b"", b"A", b"=", b"\xff", b"\x00", b":"])
def test_a_damaged_ciphertext_is_refused(tmp_path: Path, last: bytes) -> None:
    async def scenario(there: World) -> None:
        stored = await there.client.encrypt()
        raw = bytearray(base64.b64decode(stored.ciphertext[9:]))
        raw[-1] ^= 1
        whole = b"vault:v1:" + base64.b64encode(raw)
        for ciphertext in (whole, whole[:-4] + last, last, b"vault:v1:" + last):
            await there.refusal(
                there.client.decrypt(changed(stored, ciphertext=ciphertext)), Code.INVALID_ARGUMENT
            )

    in_world(tmp_path, scenario)


@pytest.mark.parametrize(
    "key_id",
    ["", "x", f"{MOUNT}/{NAME}", f"{MOUNT}/{NAME}:v1", f"other/{NAME}:v1:1", f"{MOUNT}/{NAME}:v0:1",
     f"{MOUNT}/{NAME}:absent", f"{MOUNT}/{NAME}:v1:" + "9" * 2000, f"{MOUNT}/{NAME}:v1:1\n"],
)  # fmt: skip
def test_a_foreign_key_id_is_refused(tmp_path: Path, key_id: str) -> None:
    async def scenario(there: World) -> None:
        stored = changed(await there.client.encrypt(), key_id=key_id)
        text = await there.refusal(
            there.client.decrypt(stored), Code.INVALID_ARGUMENT, "not one of lab06-transit"
        )
        assert len(text) < 300

    in_world(tmp_path, scenario)


@pytest.mark.parametrize(
    "annotations",
    [{}, {ANNOTATION: b"2"}, {ANNOTATION: b""}, {"other.test": b"1"},
     {ANNOTATION: b"1", "other.test": b"1"}],
)  # fmt: skip
def test_foreign_annotations_are_refused(tmp_path: Path, annotations: dict[str, bytes]) -> None:
    async def scenario(there: World) -> None:
        stored = changed(await there.client.encrypt(), annotations=annotations)
        await there.refusal(there.client.decrypt(stored), Code.INVALID_ARGUMENT, "annotations")

    in_world(tmp_path, scenario)


def test_key_id_and_ciphertext_must_be_of_one_version(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        first = await there.client.encrypt()
        there.vault.key.rotate()
        await there.client.status()
        second = await there.client.encrypt()
        mixed = changed(second, ciphertext=first.ciphertext)
        await there.refusal(there.client.decrypt(mixed), Code.INVALID_ARGUMENT, "not of version 2")

    in_world(tmp_path, scenario)


def test_sizes_that_kube_apiserver_would_not_take(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.refusal(there.client.encrypt(b""), Code.INVALID_ARGUMENT, "is empty")
        assert len((await there.client.encrypt(b"x" * 700)).ciphertext) <= 1024
        await there.refusal(
            there.client.encrypt(b"x" * 800), Code.INVALID_ARGUMENT, "kube-apiserver takes 1024"
        )
        await there.refusal(there.client.encrypt(b"x" * 100_000), Code.RESOURCE_EXHAUSTED)
        assert (await there.client.status()).healthz == "ok"

    in_world(tmp_path, scenario)


def test_many_calls_at_once_share_one_login(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        async def once(number: int) -> None:
            seed = number.to_bytes(32, "big")
            stored = await there.client.encrypt(seed, f"uid-{number}")
            assert await there.client.decrypt(stored) == seed
            assert (await there.client.status()).healthz == "ok"

        await asyncio.gather(*(once(number) for number in range(100)))
        assert there.vault.count("auth/lab06-approle/login") == 1
        # Looks are shared, too.
        assert there.vault.count(f"{MOUNT}/keys/{NAME}") < 250

    in_world(tmp_path, scenario)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ({"supports_encryption": False, "type": "ed25519"}, "is of type ed25519"),
        ({"derived": True}, "is derived"),
        ({"keys": {}}, "does not understand"),
        ({"keys": {"1": "two\nlines"}}, "does not understand"),
        ({"latest_version": None}, "does not understand"),
    ],
)
def test_a_key_that_is_of_no_use(tmp_path: Path, kind: dict[str, object], words: str) -> None:
    async def scenario(there: World) -> None:
        there.vault.key.kind = kind
        assert words in (await there.client.status()).healthz
        await there.refusal(there.client.encrypt(), Code.FAILED_PRECONDITION, words)

    in_world(tmp_path, scenario)


def test_a_key_pair_is_of_use(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        birth = "2026-11-25T13:00:00.123456789Z"
        there.vault.key.kind = {"type": "rsa-4096", "keys": {"1": {"creation_time": birth}}}
        assert (await there.client.status()).key_id == f"{MOUNT}/{NAME}:v1:{birth}"
        assert await there.client.decrypt(await there.client.encrypt()) == SEED

    in_world(tmp_path, scenario)
