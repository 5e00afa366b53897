"""The token's life: renewal, the end of renewals, refused logins and their pace."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from standins.kms_plugin.login import read_id
from tests.standins.kms_plugin.fakevault import SECRET_ID, until
from tests.standins.kms_plugin.world import SEED, Code, World, in_world, stamp_changes

LOGIN, RENEW = "auth/lab06-approle/login", "auth/token/renew-self"


def test_a_token_is_renewed_after_two_thirds_of_its_life(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.grant = {"lease_duration": 60, "renewable": True}
        stored = await there.client.encrypt()
        there.clock.now += 39
        assert await there.client.decrypt(stored) == SEED
        assert there.vault.count(RENEW) == 0
        for renewals, later in ((1, 2), (2, 41), (3, 41)):
            there.clock.now += later
            found = await asyncio.gather(*(there.client.decrypt(stored) for _ in range(20)))
            assert found == [SEED] * 20
            assert there.vault.count(RENEW) == renewals
        assert there.vault.count(LOGIN) == 1

    in_world(tmp_path, scenario)


def test_near_its_longest_life_a_token_is_replaced(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.grant = {"lease_duration": 60, "renewable": True}
        stored = await there.client.encrypt()
        there.clock.now += 41
        there.vault.grant = {"lease_duration": 5, "renewable": True}
        assert await there.client.decrypt(stored) == SEED
        assert there.vault.count(LOGIN) == 2

    in_world(tmp_path, scenario)


@pytest.mark.parametrize(
    ("lease", "later", "logins"),
    [
        ({"lease_duration": 60, "renewable": False}, 41, 2),
        ({"lease_duration": 60, "renewable": True}, 61, 2),
        ({"lease_duration": 0, "renewable": False}, 1e9, 1),
    ],
)
def test_other_kinds_of_tokens(
    tmp_path: Path, lease: dict[str, object], later: float, logins: int
) -> None:
    async def scenario(there: World) -> None:
        there.vault.grant = lease
        await there.client.encrypt()
        there.clock.now += later
        await there.client.encrypt()
        assert there.vault.count(LOGIN) == logins
        assert there.vault.count(RENEW) == 0

    in_world(tmp_path, scenario)


def test_a_failed_renewal_is_nobodys_problem_while_the_token_lives(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.grant = {"lease_duration": 60, "renewable": True}
        stored = await there.client.encrypt()
        there.vault.denied = {RENEW}
        there.vault.approle.secret_ids = set()
        there.clock.now += 41
        for _ in range(5):
            assert await there.client.decrypt(stored) == SEED
        assert there.vault.count(LOGIN) == 2
        there.clock.now += 20
        await there.refusal(there.client.decrypt(stored), Code.PERMISSION_DENIED, LOGIN)

    in_world(tmp_path, scenario)


def test_a_wrong_secret_id_does_not_get_the_role_locked(tmp_path: Path) -> None:
    """Vault locks a role after 5 wrong secret IDs; kube-apiserver asks every few seconds."""

    async def scenario(there: World) -> None:
        there.vault.approle.secret_ids = {"new"}
        for _ in range(200):
            there.clock.now += 9
            status = await there.client.status()
            assert "refuses the AppRole login at auth/lab06-approle/login" in status.healthz
        assert there.vault.approle.wrong == 4  # after 9, 27, 90 and 1053 seconds of 1800
        file = tmp_path / "secret_id"
        file.write_text("new")
        stamp_changes(file)
        assert (await there.client.status()).healthz == "ok"

    in_world(tmp_path, scenario)


def test_one_refusal_answers_all_who_wait(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.approle.secret_ids = set()
        calls = (there.client.encrypt() for _ in range(50))
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert all("refuses the AppRole login" in str(each) for each in found)
        assert there.vault.approle.wrong == 1

    in_world(tmp_path, scenario)


def test_a_caller_that_gives_up_does_not_spoil_the_login(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.delay = 0.3
        first = asyncio.ensure_future(there.client.encrypt())
        await until(lambda: there.vault.open == 1)
        first.cancel()
        assert (await there.client.encrypt()).ciphertext
        assert there.vault.count(LOGIN) == 1

    in_world(tmp_path, scenario)


def test_ids_are_read_anew_for_each_login(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        stored = await there.client.encrypt()
        there.vault.expire_tokens()
        (tmp_path / "secret_id").unlink()
        await there.refusal(
            there.client.decrypt(stored), Code.PERMISSION_DENIED, "secret_id: no such file"
        )
        (tmp_path / "secret_id").write_text(SECRET_ID)
        assert await there.client.decrypt(stored) == SEED

    in_world(tmp_path, scenario)


def test_a_lost_approle_mount(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.auth.clear()
        await there.refusal(there.client.encrypt(), Code.PERMISSION_DENIED, "a missing mount")

    in_world(tmp_path, scenario)


def test_something_that_is_no_vault(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.grant = {"lease_duration": "soon"}
        await there.refusal(there.client.encrypt(), Code.UNAVAILABLE, "is it a Vault at all?")

    in_world(tmp_path, scenario)


def test_the_token_ends_with_the_plugin(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.client.encrypt()
        assert len(there.vault.tokens) == 1
        await there.session.revoke()
        assert there.vault.tokens == {}
        # A second time there is nothing to do, and a Vault that is gone holds nobody up.
        await there.session.revoke()
        assert there.vault.count("auth/token/revoke-self") == 1
        await there.client.encrypt()
        there.vault.sealed = True
        await there.session.revoke()

    in_world(tmp_path, scenario)


@pytest.mark.parametrize("content", [b"", b"  \n", b"a\x00b", b"\xff", b"x" * 5000, b"a\nb"])
def test_a_file_that_holds_no_id(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "id"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="does not hold an ID"):
        read_id(str(file))
