"""Ctrl-C in the middle of `lab up`: back at once, no program left, completed by the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness.base.labels import CLUSTER_PREFIX
from harness.base.paths import CHECKOUT, PROJECT
from harness.base.wait import wait_for
from harness.clients.kube import Kube
from harness.environment.environment import Environment, Options
from harness.lab.access import Access
from harness.lab.catalog import all_labs
from harness.supply.engine import engine
from tests.fakes import toyintegration
from tests.fakes.progress import Silent

pytestmark = pytest.mark.live

# From Ctrl-C to the prompt (issue: "returns in 3 s"), on an idle machine.
BACK_SECONDS = 3.0


@pytest.fixture
def second(environment: Access) -> Iterator[Environment]:
    """Another environment beside the run's own; removed afterwards, whatever happened."""
    made = Environment(f"{environment.name}-2")
    yield made
    if made.cluster.node() or made.folder.exists():
        made.down()


class Up:
    """`lab up` with everything that labs need, in a process of its own."""

    def __init__(self, environment: Environment, flavour: str, supply: str, messages: Path) -> None:
        self._messages = messages
        # Whatever it starts inherits this variable: so its programs are found afterwards.
        self._mark = f"LAB_TEST_MARK={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        labs = [lab.number for lab in all_labs()]
        with messages.open("w", encoding="utf-8") as stderr:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "harness.cli", "up", *labs, "--env", environment.name),
                    *("--vault", flavour, "--supply", supply),
                ],
                cwd=CHECKOUT,
                env={**os.environ, name: value},
                stderr=stderr,
            )

    def said(self) -> str:
        """What it has printed so far."""
        return self._messages.read_text("utf-8")

    def interrupt(self, moment: str, message: str, reached: Callable[[], object]) -> None:
        """Ctrl-C as soon as this process printed `message` and `reached` is true.

        The prompt is back at once, and nothing runs on.
        """

        def there() -> bool:
            if self._process.poll() is not None:
                raise AssertionError(f"`up` ended before {moment}: {self.said()}")
            return message in self.said() and bool(reached())

        wait_for(moment, there, timeout=300, every=0.05, transient=(OSError,))
        started = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        self._process.wait(90)
        seconds = time.monotonic() - started
        said = self.said()
        assert self._process.returncode == 130, said
        assert "Traceback" not in said
        assert self.programs() == []
        busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        assert seconds < BACK_SECONDS * busy, f"{moment}: back after {seconds:.1f}s"

    def finish(self) -> str:
        """Let it run to its end."""
        self._process.wait(600)
        assert self._process.returncode == 0, self.said()
        return self.said()

    def programs(self) -> list[str]:
        """The command lines of what it started and what is still there."""
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if (
                    folder.name.isdigit()
                    and self._mark.encode() in (folder / "environ").read_bytes()
                ):
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found


def test_up_is_interrupted_at_six_moments_and_completed(
    environment: Access,
    second: Environment,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supply = str(request.config.getoption("--lab-supply"))
    client = engine.client()
    ours = (PROJECT, CLUSTER_PREFIX)
    mine = (second.network, second.cluster.name)

    def everything() -> set[tuple[str, str]]:
        """The engine's containers, networks and volumes, but those of other environments."""
        containers = {("container", str(c.name)) for c in client.containers.list(all=True)}
        networks = {("network", str(n.name)) for n in client.networks.list()}
        volumes = {("volume", str(v.name)) for v in client.volumes.list()}
        return {
            (kind, name)
            for kind, name in containers | networks | volumes
            if not name.startswith(ours) or name.startswith(mine)
        }

    def up() -> Up:
        return Up(second, environment.flavour, supply, tmp_path / "messages")

    def always() -> bool:
        return True

    # Each begins where the one before left the environment.
    moments: list[tuple[str, str, Callable[[], object]]] = [
        ("the engine was found", "container engine: ", always),
        ("Vault's container is made", "vault: vault container", always),
        ("kind has made the node", "cluster: kind cluster", second.cluster.node),
        ("the cluster is complete", "cluster: created", always),
        ("the second Vault is made", "second-vault: a second Vault", always),
        ("helm or kubectl installs", "operator: Vault Secrets Operator", always),
    ]
    before = everything()
    for moment in moments:
        up().interrupt(*moment)
    up().finish()

    one, two = Kube(environment.kubeconfig), Kube(second.access().kubeconfig)
    assert one.list("Node")[0]["metadata"]["uid"] != two.list("Node")[0]["metadata"]["uid"]
    assert second.access().vault_token != environment.vault_token

    # One file more is one integration more: installed, repaired, removed with the environment.
    toyintegration.add(tmp_path, monkeypatch)
    toy = f"{PROJECT}-{second.name}-toy"
    with_toy = Options(supply=supply, needs=("toy",))
    second.up(with_toy, Silent())
    (container,) = client.containers.list(filters={"name": toy})
    container.kill()
    second.up(with_toy, Silent())
    assert [c.id for c in client.containers.list(filters={"name": toy})] != [container.id]
    assert client.containers.get(toy).status == "running"
    assert two.get("ConfigMap", "toy", "default")

    second.down()
    assert everything() == before
    assert not second.folder.exists()
    client.close()
