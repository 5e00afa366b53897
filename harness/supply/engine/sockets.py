"""Whether something listens on a Unix socket, and serves requests yet."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

from harness.base.errors import EnvironmentLacks

# An engine on this machine accepts a connection at once.
CONNECT_SECONDS = 10


def listens(path: Path) -> bool:
    """Whether a Unix socket has a listener. Raises EnvironmentLacks without permission.

    The file alone proves nothing: it outlives a process that was killed.
    """
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(CONNECT_SECONDS)
            probe.connect(str(path))
    except PermissionError as error:
        raise no_permission(path) from error
    except OSError:
        return False
    return True


def answers(path: Path, seconds: float) -> bool:
    """Whether an engine on the Unix socket `path` serves requests already.

    dockerd listens before it is ready, and a connection then waits for its answer.
    """
    if not listens(path):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(str(path))
            connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def no_permission(path: Path) -> EnvironmentLacks:
    """The error for a socket that belongs to others."""
    return EnvironmentLacks(
        "this user may not talk to the container engine",
        where=str(path),
        hint="sudo usermod -aG docker $USER, then log in again",
    )
