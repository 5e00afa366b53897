"""Which container engine: the one that a person's own `docker` command talks to.

The command looks at DOCKER_HOST, then at the docker context (DOCKER_CONTEXT, or what
`docker context use` wrote), then at the default socket. Colima, Rancher Desktop, Docker
Desktop and rootless engines are contexts. The Docker SDK, testcontainers and kind each
follow a part of this only, and two of them would use two engines. So the question is
answered once, here, and the answer goes into the environment of this process as
DOCKER_HOST, which all libraries and child programs honour.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.base import proxies
from harness.base.errors import EnvironmentLacks

DEFAULT_SOCKET = Path("/var/run/docker.sock")
DEFAULT_CONTEXT = "default"
HOST_VARIABLE, CONTEXT_VARIABLE = "DOCKER_HOST", "DOCKER_CONTEXT"


@dataclass(frozen=True)
class Endpoint:
    """An engine's address, where it is written down, and what a client's environment needs."""

    host: str
    source: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


# What `settle` has put into the environment, so that errors still name the context.
_settled: Endpoint | None = None


def current() -> Endpoint:
    """The engine's address. Raises EnvironmentLacks for a docker context that is not there."""
    host = os.environ.get(HOST_VARIABLE)
    if host:
        if _settled and host == _settled.host:
            return _settled
        return Endpoint(host, HOST_VARIABLE)
    name = configured()
    if name == DEFAULT_CONTEXT:
        return Endpoint(f"unix://{DEFAULT_SOCKET}")
    return _endpoint_of(name)


def settle() -> None:
    """Point this process and its children at the engine, where a docker context names it.

    A broken context is left to the first that needs an engine: not every command does.
    """
    global _settled
    try:
        found = current()
    except EnvironmentLacks:
        return
    if found.variables:
        _settled = found
        os.environ.update(found.variables)


def configured() -> str:
    """The docker context that counts where DOCKER_HOST names no engine."""
    named = os.environ.get(CONTEXT_VARIABLE)
    if named:
        return named
    # Half a second of imports is spared where no docker command was ever configured.
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    if not (Path(folder) / "config.json").exists():
        return DEFAULT_CONTEXT
    from docker.context.config import get_current_context_name

    name: str = get_current_context_name()
    return name or DEFAULT_CONTEXT


def _endpoint_of(name: str) -> Endpoint:
    from docker.context import ContextAPI

    source = f"docker context {name}"
    hint = "docker context ls; docker context use default"
    try:
        context: Any = ContextAPI.get_context(name)
    except Exception as error:  # the SDK raises a bare Exception for a damaged file
        raise EnvironmentLacks(
            f"the docker context {name} cannot be read: {error}", where=source, hint=hint
        ) from error
    if context is None or not context.Host:
        raise EnvironmentLacks(f"there is no docker context {name}", where=source, hint=hint)
    variables = {HOST_VARIABLE: str(context.Host)}
    tls = context.TLSConfig
    if tls is not None:
        # The files in a context's folder have the names that DOCKER_CERT_PATH wants.
        variables["DOCKER_CERT_PATH"] = str(Path(tls.ca_cert).parent)
        if tls.verify:
            variables["DOCKER_TLS_VERIFY"] = "1"
    return Endpoint(str(context.Host), source, variables)


def proxies_of_nodes() -> dict[str, str]:
    """The proxies that kind must know, because `docker run` puts them into its nodes.

    They are those of ~/.docker/config.json. kind knows the shell's only; for these it adds the
    names and networks of its cluster to NO_PROXY, and without them a node could not reach itself.
    """
    if proxies.settings():
        return {}
    from docker.utils.config import load_general_config

    configured = load_general_config().get("proxies") or {}
    chosen = configured.get(current().host) or configured.get("default") or {}
    named = {
        "HTTP_PROXY": str(chosen.get("httpProxy") or ""),
        "HTTPS_PROXY": str(chosen.get("httpsProxy") or ""),
    }
    found = {name: value for name, value in named.items() if value}
    if found:
        found["NO_PROXY"] = proxies.completed(str(chosen.get("noProxy") or ""))
    return found
