"""What an engine is started with on this host: smaller packets, a runtime that asks for less."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.base import paths
from harness.supply.engine import limits, runtime_wrapper

WRAPPER_NAME = "runc-reduced"


def for_this_host() -> list[str]:
    """Options of dockerd for what this host's network and kernel cannot do."""
    found = []
    way_out = limits.way_out()
    if way_out and way_out[1] < limits.ETHERNET_MTU:
        # Larger packets of containers would be lost on the way, and downloads would stall.
        found.append(f"--mtu={way_out[1]}")
    if limits.lacks_sys_resource():
        found.append(f"--add-runtime={WRAPPER_NAME}={install_wrapper()}")
        found.append(f"--default-runtime={WRAPPER_NAME}")
    return found


def install_wrapper() -> Path:
    """Write the runtime wrapper as a program of its own and return its path.

    It is named by interpreter and path of this moment: an engine that outlives this
    virtual environment must still find both, hence the interpreter behind the venv.
    """
    target = folder() / WRAPPER_NAME
    interpreter = Path(sys.executable).resolve()
    source = Path(runtime_wrapper.__file__).read_text(encoding="utf-8")
    folder().mkdir(parents=True, exist_ok=True)
    target.write_text(f"#!{interpreter} -IS\n{source}", encoding="utf-8")
    target.chmod(0o755)
    return target


def folder() -> Path:
    """Where the project keeps what belongs to an engine that it starts."""
    return paths.cache_root() / "engine"
