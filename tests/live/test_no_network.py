"""The talk without a wifi: from a copy of the checkout and a bundle, all works without a route."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import integrations
from harness.base import process
from harness.base.paths import CHECKOUT
from harness.environment.layout import DEFAULT_FLAVOUR
from harness.environment.parts import parts_of
from harness.lab.catalog import find_lab
from harness.supply.offline.supply import OfflineSupply
from tests.live import sealed

pytestmark = sealed.needs_an_engine_of_its_own

LABS = ("01",)
MINUTES = 15


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """The data root of the engine; pytest would keep its gigabytes for two runs more."""
    yield tmp_path / "data"
    shutil.rmtree(tmp_path / "data", ignore_errors=True)


def test_labs_run_where_no_route_leads_out(tmp_path: Path, data: Path) -> None:
    """A bundle, a Python without packages, an engine without images, no cache, the loopback."""
    needs = [need for number in LABS for need in find_lab(number).needs]
    parts = [*parts_of(DEFAULT_FLAVOUR), *integrations.parts_of(needs, upstream=False)]
    if not OfflineSupply().cached(["kind", "kubectl", "node", "app", *parts]):
        pytest.skip("the offline parts are not in the cache: this run is online")
    file, copy = tmp_path / "labs.bundle", tmp_path / "copy"
    saved = process.run(
        [sys.executable, "-m", "harness.cli", "bundle", "save", file, *LABS],
        env={**os.environ, "LAB_SUPPLY": "offline"},
        cwd=CHECKOUT,
        timeout=MINUTES * 60,
    )
    print(saved)
    _copy_checkout(copy)
    ended = subprocess.run(
        sealed.command(data, "tests.live.no_network", str(copy), str(file), *LABS),
        env={**sealed.variables(tmp_path / "cache"), "LAB_STATE": str(tmp_path / "state")},
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MINUTES * 60,
        check=False,
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout[-4000:]


def _copy_checkout(target: Path) -> None:
    """What a clone would have, with changes that are not committed."""
    listed = process.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=CHECKOUT
    )
    for name in listed.splitlines():
        if (CHECKOUT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, target / name)
