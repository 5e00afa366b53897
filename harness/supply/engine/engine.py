"""Finding a container engine and saying whether the labs can use it.

The Docker API is spoken through the docker SDK, to the engine that a person's own `docker`
command would use (harness.supply.engine.contexts). What stands in the way becomes one
sentence and one thing to try. Starting an engine where there is none is the work of
harness.supply.engine.dockerd; Podman and engines on other machines are refused.
"""

from __future__ import annotations

import os
import socket
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import docker
import requests
from docker.errors import DockerException, NotFound
from docker.models.containers import Container

from harness.base import proxies
from harness.base.errors import EnvironmentLacks
from harness.base.wait import pause
from harness.supply.engine import capabilities, contexts, sockets
from harness.supply.engine.capabilities import OTHER_ENGINE, Engine

# An engine on this machine answers a ping in milliseconds, a busy one within seconds.
PING_SECONDS = 10
LOOKS = 3
BETWEEN_LOOKS_SECONDS = 0.5
# The API version that was agreed on, by address: asking for each client again takes a twentieth
# of a second, and bringing an environment up makes some forty.
_agreed: dict[str, str] = {}
MTU_OPTION = "com.docker.network.driver.mtu"
_CUT = ("Connection aborted", "Connection refused", "Broken pipe")
# Building and importing images: silence for this long means that the engine hangs.
WORK_SECONDS = 600

GET_ONE = "on Debian or Ubuntu as root `./lab up` starts one; elsewhere install Docker Engine"


def address() -> str:
    """Where the engine is looked for, in the form of DOCKER_HOST."""
    return contexts.current().host


def client(timeout: float = WORK_SECONDS) -> docker.DockerClient:
    """A client of the engine at `address()`; `timeout` is per request, in seconds.

    It is for one thread: the SDK's HTTP session is not made for several. Raises
    EnvironmentLacks when there is no engine, or none that this project can use; one that went
    away since it was last asked is noticed by the first request.
    """
    _refuse_unusable_address()
    where = address()
    try:
        made = docker.from_env(
            version=_agreed.get(where, "auto"),
            timeout=int(timeout),
            environment={**os.environ, **contexts.current().variables},
        )
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
    """What the engine says about itself. Raises EnvironmentLacks when it does not answer."""
    _agreed.pop(address(), None)
    with_short_timeout = client(PING_SECONDS)
    try:
        version, info = with_short_timeout.version(), with_short_timeout.info()
    except (DockerException, requests.RequestException) as error:
        raise _unreachable(error) from error
    finally:
        with_short_timeout.close()
    return capabilities.describe(address(), version, info)


def platform_of(client: docker.DockerClient) -> str:
    """What the engine runs, as `linux/amd64` (this machine may be another: macOS)."""
    version = client.version()
    return f"{version['Os']}/{version['Arch']}"


def bind_mode(mode: str) -> str:
    """The mode of a bind mount ("ro", "rw"), with the label that SELinux asks for."""
    with closing(client()) as asked:
        return f"{mode},z" if "selinux" in capabilities.security_options(asked.info()) else mode


def network_options(asked: docker.DockerClient) -> dict[str, str]:
    """What a network has to be made with: the MTU that the engine was configured with.

    The engine applies it to its own network only; kind makes its networks in the same way.
    """
    with suppress(NotFound):
        options = asked.networks.get("bridge").attrs.get("Options") or {}
        if MTU_OPTION in options:
            return {MTU_OPTION: str(options[MTU_OPTION])}
    return {}


def _socket_path() -> Path | None:
    parts = urlsplit(address())
    return Path(parts.path) if parts.scheme == "unix" else None


def _refuse_unusable_address() -> None:
    parts = urlsplit(address())
    if parts.scheme not in ("unix", "tcp", "http", "https", "npipe"):
        raise EnvironmentLacks(
            f"the engine address {address()!r} is not one that the labs can use",
            where=contexts.current().source,
            hint=OTHER_ENGINE,
        )
    if parts.scheme in ("tcp", "http", "https") and not proxies.is_loopback(parts.hostname or ""):
        raise EnvironmentLacks(
            f"the engine at {parts.hostname} is another machine: the labs publish their ports "
            "on this one's 127.0.0.1",
            where=contexts.current().source,
            hint=f"{OTHER_ENGINE}; or run ./lab on that machine",
        )


def _listening() -> bool:
    """Whether something accepts connections; a socket file alone proves nothing."""
    _refuse_unusable_address()
    path = _socket_path()
    if path is not None:
        return sockets.listens(path)
    parts = urlsplit(address())
    if parts.scheme == "npipe":
        return True  # Windows: the SDK's own error is as good as any of ours
    try:
        socket.create_connection((parts.hostname, parts.port or 2375), PING_SECONDS).close()
    except OSError:
        return False
    return True


def _unreachable(error: Exception) -> EnvironmentLacks:
    path = _socket_path()
    if path is not None and "Permission denied" in str(error):
        return sockets.no_permission(path)
    return EnvironmentLacks(
        f"the container engine at {address()} does not answer as Docker does: {error}",
        hint="docker version",
    )
