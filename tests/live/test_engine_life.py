"""Starting, losing and stopping an engine of our own, out of reach of this machine's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.base.paths import CHECKOUT
from tests.live import sealed
from tests.live.engine_life import SCENARIOS

pytestmark = [
    sealed.needs_an_engine_of_its_own,
    pytest.mark.skipif(
        not shutil.which("busybox"),
        reason="needs a static busybox (apt-get install busybox-static)",
    ),
]


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_an_engine_survives(scenario: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    result = subprocess.run(
        sealed.command(tmp_path / "data", "tests.live.engine_life", scenario, str(tmp_path)),
        env=sealed.variables(cache),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stdout + result.stderr
