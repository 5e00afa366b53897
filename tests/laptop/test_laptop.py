"""A plain user, a current Docker, no network after the first day: `./lab run` works.

Run by `./lab test --laptop`. What the labs meet here and not on the machine of the tests:
Docker 28 with containerd's image store, images from indexes of several platforms, a user who
is not root, a docker context that is not the default, a proxy that goes nowhere.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.base.paths import CHECKOUT, cache_root
from harness.base.progress import reporting
from harness.base.wait import wait_for
from harness.supply.base import chart_part
from harness.supply.offline.supply import OfflineSupply, cannot_build
from tests.laptop import current_engine, publishers
from tests.laptop.machine import INTERFACE, Laptop
from tests.live import registry as registries
from tests.live import sealed

pytestmark = pytest.mark.live

MINUTES = 40


@pytest.fixture
def laptop() -> Iterator[Laptop]:
    """Everything that the laptop finds in its world, on a disk, removed at the end."""
    obstacle = cannot_build()
    if obstacle:
        pytest.skip(f"the laptop is built here: {obstacle}")
    # `./lab test` hands Ctrl-C on as this signal: a gigabyte would stay behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="laptop-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with reporting() as progress:
            provided = publishers.parts(progress)
            kubectl = OfflineSupply().provide(["kubectl"], progress)["kubectl"].path
            engine = current_engine.programs(progress)
        assert kubectl is not None
        publishers.fill_registry(folder / "registry")
        publishers.write_releases(folder / "website", provided)
        publishers.write_chart(folder / "website")
        publishers.write_wheels(folder / "wheels")
        yield Laptop(
            folder=str(folder),
            registry=str(folder / "registry"),
            website=str(folder / "website"),
            wheels=str(folder / "wheels"),
            engine=str(engine),
            # Built with Kubernetes, into the same folder.
            containerd=str(kubectl.parent),
            chart=chart_part(publishers.CHART),
            indexed=publishers.online("vault").online["image"],
            labs=["01"],
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_plain_user_on_a_current_engine(laptop: Laptop) -> None:
    program = "tests.laptop.machine", json.dumps(asdict(laptop))
    words = sealed.command(laptop.path("data"), *program)
    env = sealed.variables(cache_root().parent)
    with ExitStack() as stack:
        machine = stack.enter_context(subprocess.Popen(words, env=env, cwd=CHECKOUT))
        stack.callback(machine.kill)
        wait_for("its namespaces", lambda: network_of(machine.pid) != network_of(os.getpid()))
        network = stack.enter_context(network_for(machine.pid))
        stack.callback(network.terminate)
        status = machine.wait(MINUTES * 60)
    assert status == 0


def network_of(pid: int) -> str:
    """Which network namespace a process is in."""
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def network_for(pid: int) -> subprocess.Popen[bytes]:
    """A way out for the namespace of a process: this machine's, without its loopback."""
    program = registries.installed("slirp4netns")
    options = ("--configure", "--mtu=1500", "--disable-host-loopback")
    return subprocess.Popen(
        [program, *options, str(pid), INTERFACE],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
