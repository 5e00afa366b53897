"""A KMS plugin that has gone: writing ends after three minutes, reading does not.

Lab 06 says so and does not wait for it. Here it is waited for, on the cluster of the tests,
with the lab's own plugin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from harness.controlplane import kms_plugin
from harness.controlplane.settings import Plugin
from harness.lab.context import LabContext
from harness.session.runner import Runner
from labs.lab06_encryption.encrypt import configuration, write
from labs.lab06_encryption.kms import opened, prepare_vault, version_of

pytestmark = pytest.mark.live

# The API server asks a plugin that is well once a minute, and its answer holds for three
# (interfaces.md section 6): when the plugin goes, the last answer is up to a minute old.
ANSWER_SECONDS, POLL_SECONDS = 180.0, 60.0
# The API server looks every ten seconds after a plugin that is not well.
BACK_SECONDS = 60.0
EVERY_SECONDS = 5.0


@dataclass
class World:
    """Lab 06 with an API server that writes by the plugin."""

    lab: LabContext
    plugin: Plugin

    def write(self, name: str) -> tuple[int, str]:
        """The status with which a new Secret is answered, and what is said."""
        body = {
            "metadata": {"name": name, "labels": dict(self.lab.labels())},
            "stringData": {"password": str(self.lab.secret(name))},
        }
        path = f"/api/v1/namespaces/{self.lab.namespace}/secrets"
        status, said = self.lab.control_plane.call("POST", path, body)
        return status, str(said.get("message", ""))

    def reads(self) -> tuple[int, int]:
        """The statuses of one Secret and of the list of all."""
        path = f"/api/v1/namespaces/{self.lab.namespace}/secrets"
        call = self.lab.control_plane.call
        return call("GET", f"{path}/before")[0], call("GET", path)[0]


@pytest.fixture
def world(lab_context: Callable[[str], LabContext]) -> Iterator[World]:
    lab = lab_context("06")
    runner = Runner(lab)
    runner.reset()
    lab.prepare()
    plugin = prepare_vault(lab)
    lab.control_plane.set(configuration(lab, "kms", "identity"), reload=False, plugin=plugin)
    write(lab, "before")
    yield World(lab, plugin)
    kms_plugin.start(lab.control_plane.node, plugin)
    runner.reset()


def test_writing_ends_three_minutes_after_the_plugins_last_answer(world: World) -> None:
    lab = world.lab
    assert version_of(opened(lab, "before").seed) == 1, "the plugin wrapped the seed"
    kms_plugin.stop(lab.control_plane.node)
    gone = time.monotonic()
    numbers = iter(range(1000))

    def refused() -> str:
        status, said = world.write(f"new-{next(numbers)}")
        assert world.reads() == (200, 200), "reading goes on"
        return "" if status == 201 else f"{status}: {said}"

    assert refused() == "", "at first nothing happens"
    said = lab.wait_for(
        "a write to be refused",
        refused,
        timeout=ANSWER_SECONDS + POLL_SECONDS,
        every=EVERY_SECONDS,
    )
    seconds = time.monotonic() - gone
    print(f"refused after {seconds:.0f} s: {said}")
    assert "expired" in said
    assert ANSWER_SECONDS - POLL_SECONDS - EVERY_SECONDS <= seconds <= ANSWER_SECONDS + 10
    assert world.reads() == (200, 200), "and still"

    kms_plugin.start(lab.control_plane.node, world.plugin)
    lab.wait_for(
        "writing to work again by itself",
        lambda: world.write("back")[0] in (201, 409),
        timeout=BACK_SECONDS,
        every=1,
    )
    assert version_of(opened(lab, "back").seed) == 1
