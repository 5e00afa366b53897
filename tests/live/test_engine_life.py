"""Starting, losing and stopping an engine of our own, out of reach of this machine's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.base.paths import CHECKOUT
from tests.live.engine_life import SCENARIOS

# $1 is a folder on a real file system, the words after it are run.
SEALED = """
mount -t tmpfs tmpfs /run
mount --bind "$1/data" /var/lib/docker
ip link set lo up
shift
exec "$@"
"""
NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("dockerd"),
        reason="starting an engine needs root and dockerd (apt-get install docker.io)",
    ),
    pytest.mark.skipif(
        not shutil.which("busybox"),
        reason="needs a static busybox (apt-get install busybox-static)",
    ),
]


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_an_engine_survives(scenario: str, tmp_path: Path) -> None:
    for name in ("data", "cache"):
        (tmp_path / name).mkdir()
    Path("/var/lib/docker").mkdir(exist_ok=True)
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(CHECKOUT)}
    env.pop("DOCKER_HOST", None)
    program = [sys.executable, "-m", "tests.live.engine_life", scenario, str(tmp_path)]
    result = subprocess.run(
        [*NAMESPACES, "sh", "-euc", SEALED, "sh", str(tmp_path), *program],
        env=env,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stdout + result.stderr
