"""The registrar between a driver and a kubelet, both played by the tests over sockets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from standins.common.flags import read
from standins.common.serving import CannotServe, grpc_socket
from standins.registrar import identity
from standins.registrar.__main__ import Flags, run
from standins.registrar.api import (
    SCHEMA,
    InfoRequest,
    PluginInfo,
    RegistrationStatus,
    RegistrationStatusResponse,
)
from standins.registrar.identity import BadDriver, Driver, GetPluginInfoResponse
from standins.registrar.registration import problem

NAME = "secrets-store.csi.k8s.io"
ENDPOINT = "/var/lib/kubelet/plugins/csi-secrets-store/csi.sock"
ROOT = Path(__file__).resolve().parents[3]


class FakeDriver:
    """A driver's Identity service."""

    def __init__(self, name: str = NAME, ready: bool | None = None) -> None:
        self.name = name
        self.ready = ready

    @asynccontextmanager
    async def served(self, socket: Path) -> AsyncIterator[None]:
        """The driver on its socket."""
        methods = {
            "GetPluginInfo": identity.SCHEMA.method(self._info, identity.GetPluginInfoRequest),
            "Probe": identity.SCHEMA.method(self._probe, identity.ProbeRequest),
        }
        handlers = grpc.method_handlers_generic_handler(identity.SERVICE, methods)
        async with grpc_socket(handlers, str(socket)):
            yield

    async def _info(self, request: Any, context: Any) -> GetPluginInfoResponse:
        return GetPluginInfoResponse(self.name, "v1")

    async def _probe(self, request: Any, context: Any) -> identity.ProbeResponse:
        ready = None if self.ready is None else identity.BoolValue(self.ready)
        return identity.ProbeResponse(ready)


class Kubelet:
    """What kubelet does with a socket that it finds."""

    def __init__(self, channel: Any) -> None:
        service = "/pluginregistration.Registration/"
        self._info = SCHEMA.call(channel, service + "GetInfo", PluginInfo)
        self._notify = SCHEMA.call(
            channel, service + "NotifyRegistrationStatus", RegistrationStatusResponse
        )

    async def ask(self) -> PluginInfo:
        """Who is there? Waits for the socket."""
        found: PluginInfo = await self._info(InfoRequest(), timeout=10, wait_for_ready=True)
        return found

    async def tell(self, registered: bool, error: str = "") -> None:
        """The verdict."""
        await self._notify(RegistrationStatus(registered, error), timeout=5)


def arguments(folder: Path) -> Flags:
    """The registrar's command line, with its sockets in `folder`."""
    return read(
        Flags,
        "registrar",
        [
            f"-csi-address={folder}/csi.sock",
            f"--kubelet-registration-path={ENDPOINT}",
            f"-plugin-registration-path={folder}",
        ],
    )


@asynccontextmanager
async def kubelet(folder: Path) -> AsyncIterator[Kubelet]:
    """A kubelet that watches `folder`."""
    async with grpc.aio.insecure_channel(f"unix:{folder}/{NAME}-reg.sock") as channel:
        yield Kubelet(channel)


def test_kubelet_learns_name_socket_and_version(tmp_path: Path) -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        async with FakeDriver().served(tmp_path / "csi.sock"), kubelet(tmp_path) as watching:
            running = asyncio.ensure_future(run(arguments(tmp_path), stop))
            expected = PluginInfo("CSIPlugin", NAME, ENDPOINT, ("1.0.0",))
            assert await watching.ask() == expected
            await watching.tell(True)
            # A restarted kubelet asks again.
            assert await watching.ask() == expected
            stop.set()
            await running
            assert not (tmp_path / f"{NAME}-reg.sock").exists()

    asyncio.run(scenario())


def test_it_waits_for_a_driver_that_is_late(tmp_path: Path) -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        async with kubelet(tmp_path) as watching:
            running = asyncio.ensure_future(run(arguments(tmp_path), stop))
            asking = asyncio.ensure_future(watching.ask())
            done, _ = await asyncio.wait({running, asking}, timeout=0.2)
            assert not done
            async with FakeDriver().served(tmp_path / "csi.sock"):
                assert (await asking).name == NAME
                stop.set()
                await running

    asyncio.run(scenario())


def test_it_can_be_stopped_while_it_waits(tmp_path: Path) -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        running = asyncio.ensure_future(run(arguments(tmp_path), stop))
        await asyncio.wait({running}, timeout=0.1)
        stop.set()
        await asyncio.wait_for(running, 5)

    asyncio.run(scenario())


def test_a_refusal_of_kubelet_ends_it_with_the_reason(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeDriver().served(tmp_path / "csi.sock"), kubelet(tmp_path) as watching:
            running = asyncio.ensure_future(run(arguments(tmp_path), asyncio.Event()))
            await watching.ask()
            await watching.tell(False, "no such node")
            with pytest.raises(
                CannotServe, match=f"kubelet refuses the driver {NAME}: no such node"
            ):
                await running

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["", "../evil", "a/b", "-x", "x" * 64, "a b"])
def test_a_name_that_csi_does_not_allow_is_refused(tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        async with FakeDriver(name).served(tmp_path / "csi.sock"):
            with pytest.raises(BadDriver, match="no CSI driver name"):
                await run(arguments(tmp_path), asyncio.Event())

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("ready", "expected"), [(None, ""), (True, ""), (False, "says that it is not ready")]
)
def test_the_liveness_answer_is_the_drivers(
    tmp_path: Path, ready: bool | None, expected: str
) -> None:
    async def scenario() -> None:
        csi = tmp_path / "csi.sock"
        async with (
            FakeDriver(ready=ready).served(csi),
            grpc.aio.insecure_channel(f"unix:{csi}") as channel,
        ):
            found = await problem(Driver(channel), csi)
            assert (expected in found) if expected else found == ""

    asyncio.run(scenario())


def test_a_dead_driver_and_a_lost_socket_are_told_apart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/csi.sock") as channel:
            assert "is gone" in await problem(Driver(channel), tmp_path / "reg.sock")
            assert "does not answer: UNAVAILABLE" in await problem(Driver(channel), tmp_path)

    asyncio.run(scenario())


def test_as_a_process_it_needs_kubelets_path() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "standins.registrar"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert "kubelet-registration-path" in ended.stderr
