"""A Vault that is slow, sealed, gone, back; a key or a permission that is gone."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import grpc
import grpc.aio
import pytest

from standins.kms_plugin.login import Pace
from tests.standins.kms_plugin.fakevault import MOUNT, NAME, ROLE_ID, SECRET_ID, FakeVault, until
from tests.standins.kms_plugin.world import SEED, Code, World, changed, in_world

KEYS, ENCRYPT, DECRYPT = (f"{MOUNT}/{verb}/{NAME}" for verb in ("keys", "encrypt", "decrypt"))


def test_a_sealed_vault_stops_calls_but_not_writing(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        assert await there.apiserver.poll() == (True, "ok")
        seed = there.apiserver.seed
        assert seed is not None
        there.vault.sealed = True
        goes_on, health = await there.apiserver.poll()
        assert health == f"Vault at {there.vault.base} is sealed; unseal it"
        # The same key ID as before: kube-apiserver goes on with the seed that it holds.
        assert (goes_on, there.apiserver.seed) == (True, seed)
        for call in (there.client.encrypt(), there.client.decrypt(seed)):
            await there.refusal(call, Code.UNAVAILABLE, "is sealed; unseal it")
        there.vault.sealed = False
        assert await there.apiserver.poll() == (True, "ok")
        assert await there.client.decrypt(seed) == SEED
        # A seal is no reason to try the same thing over and over.
        assert there.vault.count(ENCRYPT) <= 4

    in_world(tmp_path, scenario)


def test_a_plugin_that_starts_without_vault_has_no_key_id(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.sealed = True
        assert await there.apiserver.poll() == (False, (await there.client.status()).healthz)
        assert (await there.client.status()).key_id == ""
        there.vault.sealed = False
        assert await there.apiserver.poll() == (True, "ok")

    in_world(tmp_path, scenario)


def test_a_slow_vault_ends_in_a_reason_within_the_time_limit(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        stored = await there.client.encrypt()
        key_id = (await there.client.status()).key_id
        there.vault.delay = 30
        status = await there.client.status()
        assert "gave no answer within 0.2s" in status.healthz
        assert status.key_id == key_id
        for call in (there.client.encrypt(), there.client.decrypt(stored)):
            await there.refusal(call, Code.DEADLINE_EXCEEDED, "gave no answer within 0.2s")
        # What was given up is not left running in Vault.
        await until(lambda: there.vault.open == 0)
        there.vault.delay = 0
        assert (await there.client.status()).healthz == "ok"

    in_world(tmp_path, scenario, timeout=0.2)


def test_a_caller_with_less_patience_still_gets_the_reason(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.client.status()
        there.vault.delay = 30
        refused = there.refusal(
            there.client.encrypt(timeout=1), Code.DEADLINE_EXCEEDED, "gave no answer within 0."
        )
        status, _ = await asyncio.gather(there.client.status(timeout=1), refused)
        assert "gave no answer within 0." in status.healthz

    in_world(tmp_path, scenario, timeout=20.0)


def test_a_vault_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    """Restarted it knows no token of before: a new login, and nobody notices."""

    async def scenario(there: World) -> None:
        port = int(there.vault.base.rpartition(":")[2])
        reborn = FakeVault()
        reborn.transit.keys = there.vault.transit.keys
        stored = await there.client.encrypt()
        key_id = (await there.client.status()).key_id
        await there.vault.stop()
        status = await there.client.status()
        assert status.key_id == key_id
        assert status.healthz.startswith(f"Vault at {there.vault.base} does not answer: dial tcp ")
        assert "connection refused" in status.healthz
        await there.refusal(there.client.decrypt(stored), Code.UNAVAILABLE, "does not answer")
        async with reborn.served(port=port):
            assert (await there.client.status()).healthz == "ok"
            assert await there.client.decrypt(stored) == SEED
            assert reborn.count("auth/lab06-approle/login") == 1

    in_world(tmp_path, scenario)


def test_a_passing_error_and_a_cut_connection_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("standins.kms_plugin.vault.PAUSES", (0.01, 0.01))

    async def scenario(there: World) -> None:
        stored = await there.client.encrypt()
        for trouble in ([500], [502, 429], [503]):
            there.vault.failures = trouble
            assert await there.client.decrypt(stored) == SEED
        there.vault.drops = {there.vault.arrivals + 1, there.vault.arrivals + 2}
        assert await there.client.decrypt(stored) == SEED
        there.vault.failures = [500] * 3
        await there.refusal(
            there.client.decrypt(stored), Code.UNAVAILABLE, "out of order: it answers 500"
        )

    in_world(tmp_path, scenario)


def test_a_deleted_key_stops_writing(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.apiserver.poll()
        stored = there.apiserver.seed
        assert stored is not None
        key, there.vault.transit.keys = there.vault.transit.keys, {}
        goes_on, health = await there.apiserver.poll()
        # What would be written now could never be read again.
        assert not goes_on
        assert f"Vault at {there.vault.base} has no {KEYS}" in health
        assert (await there.client.status()).key_id == f"{MOUNT}/{NAME}:absent"
        for call in (there.client.encrypt(), there.client.decrypt(stored)):
            await there.refusal(call, Code.FAILED_PRECONDITION, f"has no {KEYS}")
        there.vault.transit.keys = key
        assert await there.apiserver.poll() == (True, "ok")
        assert await there.client.decrypt(stored) == SEED

    in_world(tmp_path, scenario)


def test_a_lost_mount_is_as_bad_as_a_lost_key(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        stored = await there.client.encrypt()
        there.vault.engines.clear()
        assert "no handler for route" in (await there.client.status()).healthz
        assert (await there.client.status()).key_id == f"{MOUNT}/{NAME}:absent"
        await there.refusal(there.client.decrypt(stored), Code.FAILED_PRECONDITION, "no handler")

    in_world(tmp_path, scenario)


def test_an_absent_key_and_then_a_sealed_vault_are_told_apart(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.client.status()
        there.vault.transit.keys = {}
        await there.client.status()
        there.vault.sealed = True
        status = await there.client.status()
        assert "is sealed" in status.healthz
        # Not the ID of the lost key: that would let kube-apiserver write with its seed again.
        assert status.key_id == f"{MOUNT}/{NAME}:absent"

    in_world(tmp_path, scenario)


@pytest.mark.parametrize("path", [ENCRYPT, DECRYPT])
def test_permission_to_read_the_key_is_not_health(tmp_path: Path, path: str) -> None:
    async def scenario(there: World) -> None:
        key_id = (await there.client.status()).key_id
        there.vault.denied = {path}
        assert (await there.client.status()).healthz == "ok"
        there.clock.now += 31
        status = await there.client.status()
        assert f"Vault denies {path} to this plugin" in status.healthz
        assert status.key_id == key_id
        there.vault.denied = set()
        assert (await there.client.status()).healthz == "ok"

    in_world(tmp_path, scenario)


def test_a_call_that_fails_makes_status_look_closer(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.client.status()
        there.vault.denied = {ENCRYPT}
        await there.refusal(there.client.encrypt(), Code.PERMISSION_DENIED, ENCRYPT)
        assert "denies" in (await there.client.status()).healthz

    in_world(tmp_path, scenario)


def test_a_withdrawn_permission_costs_one_login_not_many(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        stored = await there.client.encrypt()
        there.vault.denied = {KEYS, ENCRYPT, DECRYPT}
        for _ in range(5):
            await there.refusal(
                there.client.decrypt(stored), Code.PERMISSION_DENIED, "look at the policies"
            )
            assert f"denies {KEYS}" in (await there.client.status()).healthz
        assert there.vault.count("auth/lab06-approle/login") == 2
        # The role's list of policies takes effect at a login, so there is one now and then.
        there.clock.now += 11
        await there.refusal(there.client.decrypt(stored), Code.PERMISSION_DENIED)
        assert there.vault.count("auth/lab06-approle/login") == 3
        there.vault.denied = set()
        assert await there.client.decrypt(stored) == SEED

    in_world(tmp_path, scenario)


def test_a_revoked_token_is_replaced_unnoticed(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        stored = await there.client.encrypt()
        there.vault.expire_tokens()
        found = await asyncio.gather(*(there.client.decrypt(stored) for _ in range(50)))
        assert found == [SEED] * 50
        assert there.vault.count("auth/lab06-approle/login") == 2

    in_world(tmp_path, scenario)


def test_a_token_revoked_right_after_a_denial_is_replaced_at_once(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        stored = await there.client.encrypt()
        there.vault.denied = {DECRYPT}
        await there.refusal(there.client.decrypt(stored), Code.PERMISSION_DENIED)
        there.vault.denied = set()
        for logins in (3, 4):
            there.vault.expire_tokens()
            found = await asyncio.gather(*(there.client.decrypt(stored) for _ in range(20)))
            assert found == [SEED] * 20
            assert there.vault.count("auth/lab06-approle/login") == logins

    in_world(tmp_path, scenario)


def test_nothing_secret_in_answers_and_logs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when Vault's own words repeat what was sent to it."""

    async def scenario(there: World) -> None:
        there.vault.transit.says = there.vault.approle.says = True
        stored = await there.client.encrypt()
        tail = stored.ciphertext[-8:].decode()
        texts = [repr(stored)]
        damaged = changed(stored, ciphertext=stored.ciphertext[:-12] + b"AAAAAAAAAAAA")
        texts.append(
            await there.refusal(
                there.client.decrypt(damaged, uid="uid\nINFO forged=1"), Code.INVALID_ARGUMENT
            )
        )
        assert "repeats what was sent" in texts[-1]
        there.vault.expire_tokens()
        there.vault.approle.secret_ids = set()
        texts.append(await there.refusal(there.client.decrypt(stored), Code.PERMISSION_DENIED))
        shown = "\n".join(texts) + caplog.text + "".join(str(vars(r)) for r in caplog.records)
        for secret in ("canary", SEED.decode(), tail, "AAAAAAAAAAAA", ROLE_ID, SECRET_ID):
            assert secret not in shown
        assert "uid-e" in shown

    caplog.set_level(logging.DEBUG, logger="standins")
    in_world(tmp_path, scenario, pace=Pace())


def test_a_defect_of_the_plugin_is_an_answer_without_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> bytes:
        raise RuntimeError(f"with {SEED!r} in it")

    async def scenario(there: World) -> None:
        monkeypatch.setattr("standins.kms_plugin.transit.Transit.encrypt", broken)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await there.client.encrypt()
        assert caught.value.code() is Code.INTERNAL
        assert "RuntimeError in broken, line" in str(caught.value.details())
        assert "canary" not in str(caught.value.details())
        # Status stays an answer, with the key ID.
        status = await there.client.status()
        assert "the look at the key failed by a defect" in status.healthz
        assert "canary" not in status.healthz
        assert status.key_id

    in_world(tmp_path, scenario)
