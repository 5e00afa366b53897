"""A program in namespaces of its own: this machine's engine is out of its reach.

It is root in fresh mount, network and process namespaces. /run is empty, so no engine answers
at the default socket; the loopback is the only interface; what it starts ends with it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from harness.base.paths import CHECKOUT

DATA_ROOT = Path("/var/lib/docker")
_NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
# $1 is a folder on a real file system, the words after it are run.
_PRELUDE = f"""
mount -t tmpfs tmpfs /run
mount --bind "$1" {DATA_ROOT}
ip link set lo up
shift
exec "$@"
"""

needs_an_engine_of_its_own = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("dockerd"),
    reason="starting an engine needs root and dockerd (apt-get install docker.io)",
)


def command(data: Path, module: str, *arguments: str) -> list[str]:
    """The words that run a Python module so, with `data` as the data root of its engine."""
    DATA_ROOT.mkdir(parents=True, exist_ok=True)
    data.mkdir(parents=True, exist_ok=True)
    program = [sys.executable, "-m", module, *arguments]
    return [*_NAMESPACES, "sh", "-euc", _PRELUDE, "sh", str(data), *program]


def variables(cache: Path) -> dict[str, str]:
    """What such a program finds in its environment, with `cache` for its own cache folder."""
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(CHECKOUT)}
    env.pop("DOCKER_HOST", None)
    return env
