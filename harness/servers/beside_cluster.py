"""A server as a container beside the cluster, by testcontainers: what all of them have in common.

It outlives this process, is reachable from this machine alone, and runs on the engine that
the rest of the labs use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.base.network import LOCALHOST
from harness.supply.engine import engine

if TYPE_CHECKING:
    from docker.models.containers import Container
    from testcontainers.core.container import DockerContainer


def server_container(
    image: str,
    *,
    name: str,
    hostname: str,
    network: str,
    labels: Mapping[str, str],
    ports: Mapping[int, int],
    **options: Any,
) -> DockerContainer:
    """The container, to be completed and started. `ports`: in it -> on 127.0.0.1.

    `options` are those of docker-py's `containers.run`.
    """
    # Imported where a container is made: a server that runs needs none of it.
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    # Ryuk's image cannot always be had, and it would end the container with this process;
    # `down` removes by label instead.
    testcontainers_config.ryuk_disabled = True
    # A person's ~/.testcontainers.properties could name another engine.
    testcontainers_config.tc_properties = {}
    container = (
        DockerContainer(image)
        .with_name(name)
        .with_kwargs(
            hostname=hostname,
            network=network,
            labels=dict(labels),
            # The proxies of ~/.docker/config.json: a server talks to its neighbours only.
            use_config_proxy=False,
            **options,
        )
    )
    # testcontainers types host ports as numbers but hands them to docker-py as they
    # are, and only docker-py's (address, port) form keeps them off other interfaces.
    published = {f"{inside}/tcp": (LOCALHOST, outside) for inside, outside in ports.items()}
    container.ports = published  # type: ignore[assignment] # see above
    return container


def why_outdated(container: Container, image: str, ports: Mapping[int, int]) -> str:
    """What such a container must be replaced for, in words; "" when it is as it should be."""
    if container.attrs["Image"] != engine.image_id(image):
        return "another image"
    # An `up` may end after the container was made and before its port was recorded.
    bindings = container.attrs["HostConfig"].get("PortBindings") or {}
    for inside, outside in ports.items():
        published = {str(binding["HostPort"]) for binding in bindings.get(f"{inside}/tcp") or []}
        if published != {str(outside)}:
            return "another port"
    return ""
