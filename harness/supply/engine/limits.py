"""Limits of this host that clusters run into: inotify, a capability, the MTU. Linux only."""

from __future__ import annotations

import contextlib
from pathlib import Path

# Stock limits (128 instances) carry one cluster; a second one runs out of them.
INOTIFY_INSTANCES = 512
INOTIFY_WATCHES = 524288
CAP_SYS_RESOURCE = 24  # its bit number, capability.h
ETHERNET_MTU = 1500
_ROUTES, _INTERFACES = Path("/proc/net/route"), Path("/sys/class/net")
_INOTIFY = Path("/proc/sys/fs/inotify")
_STATUS = Path("/proc/self/status")


def inotify_instances() -> int | None:
    """The limit of inotify instances for one user, None where there is no such file."""
    try:
        return int((_INOTIFY / "max_user_instances").read_text("ascii"))
    except OSError:
        return None


def raise_inotify() -> None:
    """Give this host's inotify limits room for several clusters; needs root."""
    for name, wanted in (
        ("max_user_instances", INOTIFY_INSTANCES),
        ("max_user_watches", INOTIFY_WATCHES),
    ):
        file = _INOTIFY / name
        # A read-only /proc/sys is a limit of the host, which `lab doctor` reports.
        with contextlib.suppress(OSError):
            if int(file.read_text("ascii")) < wanted:
                file.write_text(str(wanted), encoding="ascii")


def lacks_sys_resource() -> bool:
    """Whether this process's bounding set, and so every child's, lacks CAP_SYS_RESOURCE."""
    for line in _STATUS.read_text("ascii").splitlines():
        if line.startswith("CapBnd:"):
            return not int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1
    return False


def way_out() -> tuple[str, int] | None:
    """The interface of the default route and the largest packet that fits through it.

    A VPN's or a cloud's is smaller than Ethernet's. None where there is no default route.
    """
    try:
        routes = [line.split() for line in _ROUTES.read_text("ascii").splitlines()[1:]]
        interface = next(route[0] for route in routes if route[1] == "00000000")
        return interface, int((_INTERFACES / interface / "mtu").read_text("ascii"))
    except (OSError, StopIteration, IndexError, ValueError):
        return None
