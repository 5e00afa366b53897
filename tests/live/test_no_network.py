"""The talk without a wifi: after `lab fetch`, `up` and `run` need nothing from outside."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import integrations
from harness.base.paths import CHECKOUT, cache_root
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
    """The parts that this machine has built; an engine without images; the loopback alone."""
    needs = [need for number in LABS for need in find_lab(number).needs]
    parts = [*parts_of(DEFAULT_FLAVOUR), *integrations.parts_of(needs, upstream=False)]
    if not OfflineSupply().cached(["kind", "kubectl", "node", "app", *parts]):
        pytest.skip("the offline parts are not in the cache: this run is online")
    # The parts are this machine's, the record of the engine that is started is not.
    cache = tmp_path / "cache"
    (cache / cache_root().name).mkdir(parents=True)
    (cache / cache_root().name / "parts").symlink_to(cache_root() / "parts")
    ended = subprocess.run(
        sealed.command(data, "tests.live.no_network", *LABS),
        env={**sealed.variables(cache), "LAB_STATE": str(tmp_path / "state")},
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MINUTES * 60,
        check=False,
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout[-4000:]
