"""What around the container engine makes labs fail late: contexts, proxies, MTU, clock, leftovers.

Each look takes milliseconds and changes nothing.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from harness.base import proxies
from harness.base.labels import CLUSTER_PREFIX, ENVIRONMENT_LABEL, KIND_LABEL
from harness.base.paths import existing
from harness.cli.findings import Finding
from harness.supply.engine import capabilities, contexts, engine, limits
from harness.supply.engine.capabilities import OTHER_ENGINE, Engine

# A proxy on this machine or its network answers at once, or is of no use.
PROXY_SECONDS = 0.5
# Certificates and tokens of the labs are valid from the moment when they are issued.
CLOCK_SECONDS = 5.0


def context() -> Iterator[Finding]:
    """Which engine is meant, and whether two settings disagree about it."""
    found = contexts.current()
    named = contexts.configured()
    seen = f"{found.source or 'the default socket'}: {found.host}"
    if found.source == contexts.HOST_VARIABLE and named != contexts.DEFAULT_CONTEXT:
        seen += f"; the docker context {named} is not used"
        yield Finding("note", "docker context", seen, f"unset {contexts.HOST_VARIABLE}")
    else:
        yield Finding("good", "docker context", seen)


def image_store(found: Engine) -> Iterator[Finding]:
    """Where the engine keeps images: it decides how they go into a node."""
    seen = "containerd's" if found.containerd_store else f"the engine's own ({found.storage})"
    yield Finding("good", "image store", seen)
    for warning in capabilities.warnings(found):
        yield Finding("note", "container engine", warning, OTHER_ENGINE)


def proxy(found: Engine | None) -> Iterator[Finding]:
    """The proxies that the shell names: whether they answer, and who can reach them."""
    named = proxies.settings()
    if not named:
        yield Finding("good", "proxy", "none")
        return
    for url in dict.fromkeys(named.values()):
        variables = [name for name, value in named.items() if value == url]
        # Not the address itself: it may hold a password.
        parts = urlsplit(url if "://" in url else f"//{url}")
        host, port = parts.hostname or "", parts.port or 80
        seen = f"{', '.join(variables)}: {host}:{port}"
        unset = "unset " + " ".join(f"{name} {name.lower()}" for name in variables)
        if not _answers(host, port):
            yield Finding("note", "proxy", f"{seen} does not answer, downloads will fail", unset)
        elif proxies.is_loopback(host):
            help_ = f"export {variables[0]}=http://THIS-MACHINE:{port}, where it listens as well"
            yield Finding("note", "proxy", f"{seen}, which containers cannot reach", help_)
        else:
            yield Finding("good", "proxy", f"{seen}; not for this machine's own addresses")
    if found and not found.has_proxy and not all(map(_is_loopback, named.values())):
        yield Finding(
            "note",
            "proxy",
            "the shell names one, the engine (which pulls the images) has none",
            'sudo tee /etc/docker/daemon.json <<< \'{"proxies": {"https-proxy": "…"}}\'; '
            "sudo systemctl restart docker",
        )


def mtu() -> Iterator[Finding]:
    """Packets of containers must fit through this machine's way out: a VPN's are smaller."""
    way_out = limits.way_out()
    if way_out is None:
        return
    interface, room = way_out
    with closing(engine.client()) as client:
        size = int(engine.network_options(client).get(engine.MTU_OPTION, limits.ETHERNET_MTU))
    seen = f"{size} for containers, {room} on {interface}"
    if size <= room:
        yield Finding("good", "MTU", seen)
        return
    yield Finding(
        "note",
        "MTU",
        f"{seen}: downloads in containers may stall",
        f"sudo tee /etc/docker/daemon.json <<< '{{\"mtu\": {room}}}'; "
        "sudo systemctl restart docker; ./lab down; ./lab up",
    )


def clock(found: Engine) -> Iterator[Finding]:
    """Whether the engine's machine, which may be a virtual one, has this machine's time."""
    off = abs(found.clock) > CLOCK_SECONDS
    seen = f"{found.clock:+.0f}s at the engine" if off else "the engine's is right"
    yield Finding(
        "note" if off else "good",
        "clock",
        seen + (": certificates and tokens are valid too late or too briefly" if off else ""),
        "sudo timedatectl set-ntp true; a virtual machine: colima restart, or restart Docker"
        if off
        else "",
    )


def leftovers() -> Iterator[Finding]:
    """What runs of environments that this checkout knows nothing about."""
    with closing(engine.client()) as client:
        labelled = [
            *_labels(client.api.containers(all=True, filters={"label": ENVIRONMENT_LABEL})),
            *_labels(client.api.containers(all=True, filters={"label": KIND_LABEL})),
        ]
    count = Counter(filter(None, map(_environment, labelled)))
    known = existing()
    strangers = {name: number for name, number in count.items() if name not in known}
    if not strangers:
        seen = ", ".join(known) or "none"
        yield Finding("good", "environments", seen)
    for name, number in sorted(strangers.items()):
        filters = (
            f"label={ENVIRONMENT_LABEL}={name}",
            f"label={KIND_LABEL}={CLUSTER_PREFIX}{name}",
        )
        removal = "; ".join(f"docker rm -fv $(docker ps -aq --filter {one})" for one in filters)
        yield Finding(
            "note",
            "environments",
            f"{name}: {number} containers of another checkout, or of a state folder that is gone",
            f"./lab down --env {name} in its checkout; or {removal}",
        )


def _labels(listed: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [dict(container.get("Labels") or {}) for container in listed]


def _environment(labels: dict[str, str]) -> str:
    """The environment that a container with these labels belongs to, "" for none."""
    cluster = labels.get(KIND_LABEL, "")
    of_cluster = cluster.removeprefix(CLUSTER_PREFIX) if cluster.startswith(CLUSTER_PREFIX) else ""
    return labels.get(ENVIRONMENT_LABEL, of_cluster)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), PROXY_SECONDS).close()
    except OSError:
        return False
    return True


def _is_loopback(url: str) -> bool:
    return proxies.is_loopback(urlsplit(url if "://" in url else f"//{url}").hostname or "")
