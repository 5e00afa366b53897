"""The provider under stress: many mounts at once, a slow Vault, a Vault that dies."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import grpc
import grpc.aio
import pytest

from standins.csi_provider.server import serving
from standins.csi_provider.transport import Patience
from tests.standins.csi_provider.fakevault import FakeVault
from tests.standins.csi_provider.world import World, in_world


def test_a_hundred_pods_at_once_each_get_their_own(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        # Vault answers nobody before all hundred have asked: one after another never ends.
        there.vault.crowd = 100
        mounts = [there.mount(pod=f"pod-{number}") for number in range(100)]
        assert await asyncio.gather(*mounts) == [{"password": b"canary-two"}] * 100
        assert len(there.vault.logins) == 100

    in_world(tmp_path, scenario)


def test_a_hundred_mounts_of_one_pod_log_in_once(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.delay = 0.01
        await asyncio.gather(*(there.mount() for _ in range(100)))
        assert len(there.vault.logins) == 1
        # When that token expires under all of them, it is replaced once.
        there.vault.expire_tokens()
        await asyncio.gather(*(there.mount() for _ in range(100)))
        assert len(there.vault.logins) == 2

    in_world(tmp_path, scenario)


def test_a_slow_vault_delays_its_own_pods_only(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        slow = FakeVault()
        slow.delay = 30
        async with slow.served() as address:
            stuck = asyncio.ensure_future(there.mount(pod="stuck", vaultAddress=address))
            await _until(lambda: slow.open == 1)
            started = time.monotonic()
            assert await there.mount(pod="lively") == {"password": b"canary-two"}
            assert time.monotonic() - started < 2
            assert not stuck.done()
            stuck.cancel()

    in_world(tmp_path, scenario)


def test_a_vault_that_never_answers_ends_in_a_reason(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.delay = 30
        text = await there.refusal()
        assert text.startswith(
            'error making mount request: couldn\'t read secret "password": failed'
        )
        assert text.endswith('/v1/auth/kubernetes/login": context deadline exceeded')

    in_world(tmp_path, scenario, patience=Patience(timeout=0.2))


def test_a_driver_that_gives_up_takes_the_request_to_vault_with_it(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.delay = 30
        request = there.request(tokens={"vault": "jwt-app"})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await there.send(request, timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await _until(lambda: there.vault.open == 0)
        # The client of that pod is not left locked behind the cancelled login.
        there.vault.delay = 0
        assert (await there.send(request)).files[0].contents == b"canary-two"

    in_world(tmp_path, scenario)


@pytest.mark.parametrize("dropped", [{1}, {2}, {1, 2}])
def test_a_lost_connection_is_tried_again(tmp_path: Path, dropped: set[int]) -> None:
    async def scenario(there: World) -> None:
        there.vault.drops = dropped
        assert await there.mount() == {"password": b"canary-two"}

    in_world(tmp_path, scenario)


@pytest.mark.parametrize("status", [500, 502, 503, 429, 412])
def test_a_passing_error_is_tried_again(tmp_path: Path, status: int) -> None:
    async def scenario(there: World) -> None:
        there.vault.failures = [status, status]
        assert await there.mount() == {"password": b"canary-two"}
        assert there.vault.arrivals == 4

    in_world(tmp_path, scenario)


@pytest.mark.parametrize("status", [400, 501])
def test_a_final_error_is_not(tmp_path: Path, status: int) -> None:
    async def scenario(there: World) -> None:
        there.vault.failures = [status]
        assert f"Code: {status}." in await there.refusal()
        assert there.vault.arrivals == 1

    in_world(tmp_path, scenario)


def test_a_vault_that_dies_between_two_objects_gives_no_half_mount(tmp_path: Path) -> None:
    objects = """
- {objectName: first, secretPath: secret/data/app, secretKey: user}
- {objectName: second, secretPath: secret/data/types, secretKey: text}
"""

    async def scenario(there: World) -> None:
        # Login and first read pass, then every connection is cut.
        there.vault.drops = set(range(3, 100))
        text = await there.refusal(objects)
        assert 'couldn\'t read secret "second": error requesting secret: Get "http://' in text
        assert text.endswith(": EOF")
        there.vault.drops = set()
        assert len(await there.mount(objects)) == 2

    in_world(tmp_path, scenario)


def test_a_vault_that_is_gone_and_comes_back_needs_no_restart(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        other = FakeVault()
        async with other.served() as address:
            await there.mount(vaultAddress=address)
        port = int(address.rpartition(":")[2])
        text = await there.refusal(vaultAddress=address)
        assert text.endswith(f"dial tcp 127.0.0.1:{port}: connect: connection refused")
        # Restarted, it knows no token of before: one login more and all is well.
        reborn = FakeVault()
        async with reborn.served(port=port):
            assert await there.mount(vaultAddress=address) == {"password": b"canary-two"}
            assert len(reborn.logins) == 1

    in_world(tmp_path, scenario)


def test_ending_lets_a_running_mount_finish(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.delay = 0.2
        endpoint = str(tmp_path / "second.sock")
        async with grpc.aio.insecure_channel(f"unix:{endpoint}") as channel:
            async with serving(there.provider, endpoint, "127.0.0.1:0"):
                second = World(there.vault, there.cluster, there.provider, channel)
                running = asyncio.ensure_future(second.mount())
                await _until(lambda: there.vault.open == 1)
            # Ended in its midst the mount would raise; its answer may still be on the way here.
            assert await asyncio.wait_for(running, 5) == {"password": b"canary-two"}
        assert not Path(endpoint).exists()

    in_world(tmp_path, scenario)


def test_no_secret_and_no_token_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(there: World) -> None:
        await there.mount()
        await there.mount("- {objectName: all, secretPath: secret/data/app}")
        await there.refusal("- {objectName: x, secretPath: secret/data/app, secretKey: none}")
        there.vault.kubernetes.bound.clear()
        await there.refusal(pod="other")

    caplog.set_level(logging.DEBUG)
    in_world(tmp_path, scenario)
    shown = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert "mounted" in shown
    for value in ("canary", "jwt-app", "hvs.", "ada"):
        assert value not in shown


async def _until(condition: object) -> None:
    """Let the loop run until the condition holds; the test's own time-out is the limit."""
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)
