"""Whose environment it is: two clones on one machine share the engine, and so all names in it.

The network of an environment bears the state folder of the checkout that made it. Another checkout
leaves it alone for as long as that folder has the environment's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from harness.base.errors import UsageError
from harness.base.paths import PROJECT, RECORD_FILE

STATE_LABEL = f"{PROJECT}/state"


def label(folder: Path) -> Mapping[str, str]:
    """What the network of the environment with this state folder is marked with."""
    return {STATE_LABEL: str(folder.resolve())}


def require_own(client: docker.DockerClient, network: str, folder: Path) -> None:
    """Raise UsageError when another checkout made the environment with this network."""
    try:
        found: Any = client.networks.get(network)
    except NotFound:
        return
    marked = (found.attrs.get("Labels") or {}).get(STATE_LABEL, "")
    other = Path(marked)
    if not marked or other == folder.resolve() or not (other / RECORD_FILE).exists():
        return
    raise UsageError(
        f"environment {folder.name} belongs to another checkout on this machine",
        where=str(other),
        hint=f"another name here: --env {folder.name}-2; or remove it there: ./lab down"
        f" --env {folder.name}",
    )
