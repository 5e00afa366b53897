"""Finding a container engine and saying whether the labs can use it.

The Docker API is spoken through the docker SDK, to the address that a person's own
`docker` command would use (DOCKER_HOST, then the default socket; docker contexts are
not read). What stands in the way becomes one sentence and one thing to try. Starting
an engine where there is none is harness.supply.engine.dockerd's work; Podman and engines on
other machines are out of scope and are told so.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import docker
import requests
from docker.errors import DockerException, NotFound
from docker.models.containers import Container

from harness.base.errors import EnvironmentLacks
from harness.base.wait import pause

DEFAULT_SOCKET = Path("/var/run/docker.sock")
# An engine on this machine answers a ping in milliseconds, a busy one within seconds.
PING_SECONDS = 10
LOOKS = 3
BETWEEN_LOOKS_SECONDS = 0.5
# The API version that was agreed on, by address: asking anew for each client takes a twentieth
# of a second, and bringing an environment up makes some forty.
_agreed: dict[str, str] = {}
_CUT = ("Connection aborted", "Connection refused", "Broken pipe")
# Building and importing images: silence for this long means that the engine hangs.
WORK_SECONDS = 600
# kind needs cgroup namespaces: API 1.41, Docker 20.10.
OLDEST_API = (1, 41)
# One node unpacked with its /var, Vault, PostgreSQL and room to work.
NEEDED_BYTES = 4 * 1024**3

GET_ONE = "on Debian or Ubuntu as root `./lab up` starts one; elsewhere install Docker Engine"


@dataclass(frozen=True)
class Engine:
    """A container engine that answered, and what matters about it to the labs.

    `free_bytes` is the space left for its data, None where that folder is not visible
    from here (Docker Desktop keeps it inside a virtual machine).
    """

    address: str
    version: str
    api: tuple[int, ...]
    cgroup: str
    storage: str
    data_root: Path
    free_bytes: int | None
    rootless: bool

    def __str__(self) -> str:
        free = "" if self.free_bytes is None else f", {self.free_bytes / 1024**3:.0f} GiB free"
        return (
            f"Docker {self.version} at {self.address} "
            f"(cgroup v{self.cgroup}, {self.storage} in {self.data_root}{free})"
        )


def address() -> str:
    """Where the engine is looked for, in the form of DOCKER_HOST."""
    return os.environ.get("DOCKER_HOST") or f"unix://{DEFAULT_SOCKET}"


def client(timeout: float = WORK_SECONDS) -> docker.DockerClient:
    """A client of the engine at `address()`; `timeout` is per request, in seconds.

    It is for one thread: the SDK's HTTP session is not made for several. Raises
    EnvironmentLacks when there is no engine, or none that this project can use; one that went
    away since it was last asked is noticed by the first request.
    """
    _refuse_unusable_address()
    where = address()
    try:
        made = docker.from_env(version=_agreed.get(where, "auto"), timeout=int(timeout))
    except (DockerException, requests.RequestException) as error:
        raise _unreachable(error) from error
    _agreed[where] = made.api.api_version
    return made


def container(name: str) -> Container | None:
    """The container of this name, running or not; None when there is none."""
    asked = client()
    try:
        return asked.containers.get(name)
    except NotFound:
        return None
    finally:
        asked.close()


def image_id(name: str) -> str:
    """The engine's ID of the image of this name; "" when it has none."""
    asked = client()
    try:
        return str(asked.images.get(name).id)
    except NotFound:
        return ""
    finally:
        asked.close()


def find() -> Engine | None:
    """The engine that answers, or None where nothing listens.

    Raises EnvironmentLacks when something is there that cannot be used: no permission,
    another machine, Podman, an API that is too old.
    """
    for look in range(LOOKS):
        if not _listening():
            return None
        try:
            return _ask()
        except EnvironmentLacks as error:
            # An engine that ends at this moment cuts connections that it took before.
            if look == LOOKS - 1 or not any(word in error.what for word in _CUT):
                raise
            pause(BETWEEN_LOOKS_SECONDS)
    return None


def _ask() -> Engine:
    """What the engine tells about itself. Raises EnvironmentLacks when it does not."""
    _agreed.pop(address(), None)
    with_short_timeout = client(PING_SECONDS)
    try:
        version, info = with_short_timeout.version(), with_short_timeout.info()
    except (DockerException, requests.RequestException) as error:
        raise _unreachable(error) from error
    finally:
        with_short_timeout.close()
    names = {part.get("Name", "") for part in version.get("Components") or []}
    if any("podman" in name.lower() for name in names):
        raise EnvironmentLacks(
            f"the engine at {address()} is Podman, which the labs do not support",
            hint="point DOCKER_HOST at Docker Engine",
        )
    data_root = Path(info.get("DockerRootDir") or "/var/lib/docker")
    return Engine(
        address=address(),
        version=version["Version"],
        api=tuple(int(number) for number in version["ApiVersion"].split(".")),
        cgroup=str(info.get("CgroupVersion") or "1"),
        storage=info.get("Driver") or "unknown",
        data_root=data_root,
        free_bytes=shutil.disk_usage(data_root).free if data_root.is_dir() else None,
        rootless=any("name=rootless" in option for option in info.get("SecurityOptions") or []),
    )


def require() -> Engine:
    """The engine, checked. Raises EnvironmentLacks naming the first thing in the way."""
    engine = find()
    if engine is None:
        raise EnvironmentLacks(f"no container engine answers at {address()}", hint=GET_ONE)
    check(engine)
    return engine


def check(engine: Engine) -> None:
    """Raise EnvironmentLacks when a cluster cannot run on `engine`."""
    if shutil.which("docker") is None:
        raise EnvironmentLacks(
            "the docker command is not there, and kind works through it",
            where="PATH",
            hint="apt-get install docker.io, or the package docker-ce-cli of Docker's own",
        )
    if engine.api < OLDEST_API:
        raise EnvironmentLacks(
            f"Docker {engine.version} is too old: kind needs 20.10 or newer",
            where=engine.address,
            hint="upgrade Docker Engine",
        )
    if engine.free_bytes is not None and engine.free_bytes < NEEDED_BYTES:
        raise EnvironmentLacks(
            f"{engine.free_bytes / 1024**3:.1f} GiB are free where the engine keeps its data, "
            f"a cluster needs {NEEDED_BYTES // 1024**3}",
            where=str(engine.data_root),
            hint="docker system df, then docker image prune or docker volume prune",
        )


def warnings(engine: Engine) -> list[str]:
    """What does not stop a cluster but will slow or limit it, one sentence each."""
    found = []
    if engine.storage == "vfs":
        found.append("the storage driver vfs copies each image for each container: expect to wait")
    if engine.rootless:
        found.append("the engine is rootless: kind then needs cgroup v2 with delegation (untested)")
    return found


def _socket_path() -> Path | None:
    parts = urlsplit(address())
    return Path(parts.path) if parts.scheme == "unix" else None


def _refuse_unusable_address() -> None:
    parts = urlsplit(address())
    if parts.scheme not in ("unix", "tcp", "http", "https", "npipe"):
        raise EnvironmentLacks(
            f"the engine address {address()!r} is not one that the labs can use",
            where="DOCKER_HOST",
            hint="unset DOCKER_HOST to use the engine of this machine",
        )
    if parts.scheme in ("tcp", "http", "https") and not _is_loopback(parts.hostname or ""):
        raise EnvironmentLacks(
            f"the engine at {parts.hostname} is another machine: the labs publish their ports "
            "on this one's 127.0.0.1",
            where="DOCKER_HOST",
            hint="unset DOCKER_HOST, or run ./lab on that machine",
        )


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _listening() -> bool:
    """Whether something accepts connections; a socket file alone proves nothing."""
    _refuse_unusable_address()
    path = _socket_path()
    if path is not None:
        return socket_answers(path)
    parts = urlsplit(address())
    if parts.scheme == "npipe":
        return True  # Windows: the SDK's own error is as good as any of ours
    try:
        socket.create_connection((parts.hostname, parts.port or 2375), PING_SECONDS).close()
    except OSError:
        return False
    return True


def socket_answers(path: Path) -> bool:
    """Whether a Unix socket has a listener. Raises EnvironmentLacks without permission."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(PING_SECONDS)
            probe.connect(str(path))
    except PermissionError as error:
        raise _no_permission(path) from error
    except OSError:
        return False
    return True


def answers(path: Path, seconds: float) -> bool:
    """Whether an engine on the Unix socket `path` serves requests already.

    dockerd listens before it is ready, and a connection then waits for its answer.
    """
    if not socket_answers(path):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(str(path))
            connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def _no_permission(path: Path) -> EnvironmentLacks:
    return EnvironmentLacks(
        "this user may not talk to the container engine",
        where=str(path),
        hint="sudo usermod -aG docker $USER, then log in again",
    )


def _unreachable(error: Exception) -> EnvironmentLacks:
    path = _socket_path()
    if path is not None and "Permission denied" in str(error):
        return _no_permission(path)
    return EnvironmentLacks(
        f"the container engine at {address()} does not answer as Docker does: {error}",
        hint="docker version",
    )
