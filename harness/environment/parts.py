"""The parts that environments are made of: which they are, and from which supply they come.

Images go to the container engine, so it is found, or started, before any part is provided.

`lab up` asks for what one environment needs now, `lab fetch` for what the labs will need.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from harness import integrations
from harness.base.progress import Progress
from harness.environment.layout import flavour_of
from harness.supply import choose, kubernetes, pins
from harness.supply.base import Provided, Supply
from harness.supply.engine import dockerd
from harness.supply.engine.capabilities import Engine

KIND = "kind"


def provide(
    option: str,
    flavours: Iterable[str],
    needs: Iterable[str],
    progress: Progress,
    releases: Iterable[str] = (),
    found: Engine | None = None,
    *,
    cluster: bool = True,
) -> tuple[Supply, Mapping[str, Provided]]:
    """The parts of environments with these Vault flavours and integrations, and their supply.

    `option` is a supply's name, or "auto". `releases` are those of Kubernetes, the default
    without any. `found` is the engine that the caller has looked for. A `cluster` is made of parts
    as well, unless a person brings one along. Raises UsageError for an
    unknown one, EnvironmentLacks when no engine or no supply can serve here, and the errors of a
    build or a download.
    """
    of_flavours = [part for name in flavours for part in parts_of(name)]
    of_clusters = [
        kubernetes.part_name(name, release)
        for release in tuple(releases) or (kubernetes.default(),)
        for name in (kubernetes.KUBECTL, *((kubernetes.NODE,) if cluster else ()))
    ]
    wanted = (*((KIND,) if cluster else ()), *of_clusters, *of_flavours, "app")
    installed = tuple(needs)
    built, fetched = (
        list(dict.fromkeys((*wanted, *integrations.parts_of(installed, upstream=online))))
        for online in (False, True)
    )
    progress.start("container engine", "looking for one")
    progress.done("container engine", str(dockerd.ensure(found)))
    supply = choose.choose(option, built, progress, fetched)
    provided = supply.provide(fetched if supply.name == "online" else built, progress)
    with contextlib.suppress(OSError):
        # For `lab gc` of other checkouts; a cache may be another user's.
        pins.note_at_times()
    return supply, provided


def parts_of(flavour: str) -> tuple[str, ...]:
    """The parts that a Vault flavour needs: its image and its command."""
    return (flavour_of(flavour).part, f"{flavour}-cli")
