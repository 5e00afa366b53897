"""Five machines in a room at once: each in a network namespace, one killed, the server killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.base.paths import CHECKOUT
from harness.base.wait import wait_for
from tests.fakes import room as fake

CLIENTS = 5
SPEAKER, PORT = "10.99.0.1", 8443
# What waits for a program that starts, on a machine that is busy with other tests.
SECONDS = 60.0


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


class Machine:
    """A network namespace with a folder of its own."""

    def __init__(self, name: str, folder: Path, stack: ExitStack) -> None:
        self.name, self.folder, self._stack = name, folder, stack
        folder.mkdir()
        ip("netns", "add", name)
        stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
        ip("-n", name, "link", "set", "lo", "up")

    @property
    def cache(self) -> Path:
        return self.folder / "cache" / "kube-vault-labs"

    def starts(self, *words: str) -> subprocess.Popen[str]:
        """This machine's program, on its own network."""
        started = subprocess.Popen(
            ["ip", "netns", "exec", self.name, sys.executable, "-m", "tests.fakes.room", *words],
            cwd=CHECKOUT,
            env={
                **os.environ,
                "XDG_CACHE_HOME": str(self.folder / "cache"),
                "LAB_STATE": str(self.folder / "state"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(self._ends, started)
        return started

    def serves(self) -> tuple[subprocess.Popen[str], str]:
        """The speaker's server, once it listens, and its fingerprint."""
        server = self.starts("serve", SPEAKER, str(PORT))
        assert server.stdout
        fingerprint = server.stdout.readline().strip()
        assert fingerprint, server.stderr and server.stderr.read()
        return server, fingerprint

    def partial(self) -> int:
        """How much of a part has come so far, in bytes."""
        found = [*(self.cache / "mirror").glob("*.zst")]
        return max((file.stat().st_size for file in found), default=0)

    def content(self) -> dict[str, bytes]:
        """Every file of a finished part in the cache, and every wheel."""
        return {
            str(file.relative_to(self.cache)): file.read_bytes()
            for folder in ("parts", "wheels")
            for file in sorted((self.cache / folder).rglob("*"))
            if file.is_file() and file.name != ".lock" and file.suffix != ".json"
            if ".partial/" not in str(file)
        }

    @staticmethod
    def _ends(started: subprocess.Popen[str]) -> None:
        started.kill()
        started.communicate()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[tuple[Machine, list[Machine]]]:
    """The speaker's machine and five others on one bridge, with no way out."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and the command ip")
    with ExitStack() as stack:
        prefix = f"room{os.getpid()}"
        try:
            speaker = Machine(f"{prefix}s", tmp_path / "speaker", stack)
            ip("-n", speaker.name, "link", "add", "room", "type", "bridge")
            ip("-n", speaker.name, "addr", "add", f"{SPEAKER}/24", "dev", "room")
            ip("-n", speaker.name, "link", "set", "room", "up")
            others = []
            for number in range(CLIENTS):
                other = Machine(f"{prefix}c{number}", tmp_path / f"client{number}", stack)
                port, far = f"port{number}", ("peer", "name", "eth0", "netns", other.name)
                ip("-n", speaker.name, "link", "add", port, "type", "veth", *far)
                ip("-n", speaker.name, "link", "set", port, "master", "room", "up")
                ip("-n", other.name, "addr", "add", f"10.99.0.{10 + number}/24", "dev", "eth0")
                ip("-n", other.name, "link", "set", "eth0", "up")
                others.append(other)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        yield speaker, others


def test_five_machines_take_everything_though_one_and_the_server_are_killed(
    room: tuple[Machine, list[Machine]],
) -> None:
    speaker, machines = room
    server, fingerprint = speaker.serves()
    words = ("take", f"https://{SPEAKER}:{PORT}", fingerprint)
    running = {machine: machine.starts(*words) for machine in machines}
    enough = fake.SLOW_SIZE // 6
    wait_for("all to be in the middle", lambda: halfway(machines, enough), timeout=SECONDS)

    victim = machines[0]
    running[victim].send_signal(signal.SIGKILL)
    running[victim].communicate(timeout=SECONDS)
    assert victim.partial() >= enough
    assert victim.content().items() <= speaker.content().items()
    server.send_signal(signal.SIGKILL)
    server.communicate(timeout=SECONDS)
    left = {machine: machine.partial() for machine in machines}
    assert left[victim] >= enough

    _, again = speaker.serves()
    assert again == fingerprint
    running[victim] = victim.starts(*words)
    for machine in machines:
        _, said = running[machine].communicate(timeout=SECONDS)
        status = running[machine].returncode
        if status:
            # The server came back too late for it: one sentence, and the next try goes on.
            assert (status, "does not answer" in said) == (3, True), said
            assert "Traceback" not in said
            assert machine.partial() >= left[machine]
            last = machine.starts(*words)
            _, said = last.communicate(timeout=SECONDS)
            assert last.returncode == 0, said
    assert speaker.content()
    for machine in machines:
        assert machine.content() == speaker.content()
        assert not [*(machine.cache / "mirror").glob("*")]


def halfway(machines: list[Machine], enough: int) -> bool:
    """Whether every machine has so much of a part and is still at it."""
    return all(machine.partial() >= enough for machine in machines)
