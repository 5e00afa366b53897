"""Which supply an environment uses, and why, in one line.

The order of `auto`: offline when its cache is complete, online when nothing is missing
there or every place that holds a missing part answers within a few seconds, offline when
this host can build. Asking first is what keeps a person without a network from waiting
for the time-outs of an engine; that a place answers is no promise that the part is there.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.progress import Progress
from harness.supply.base import Part, Supply, find_part
from harness.supply.mirror import index
from harness.supply.offline.supply import OfflineSupply, cannot_build
from harness.supply.online import charts, company, registries, web
from harness.supply.online.charts import ChartRelease
from harness.supply.online.downloads import Host, Release
from harness.supply.online.registries import Reference
from harness.supply.online.supply import OnlineSupply

SUPPLIES = ("auto", "online", "offline")
# A registry that takes longer to say hello is no place to fetch half a gigabyte from.
ASK_SECONDS = 3.0

# Where Docker Hub's registry really is; the name in references is not a registry.
_DOCKER_HUB = {"docker.io": "registry-1.docker.io"}


@dataclass(frozen=True)
class Place:
    """Somewhere that parts come from: its name for people, the URLs to ask in turn."""

    name: str
    urls: tuple[str, ...]
    registry: bool


@dataclass(frozen=True)
class Answer:
    """What asking a place brought: after how many seconds, or why it is of no use."""

    place: Place
    seconds: float
    refused: str = ""

    def __str__(self) -> str:
        if self.refused:
            return f"{self.place.name}: {self.refused}"
        return f"{self.place.name} answered in {self.seconds:.1f}s"


def choose(
    name: str, parts: Iterable[str], progress: Progress, fetched: Iterable[str] | None = None
) -> Supply:
    """The supply called `name`, or for "auto" the one that can provide `parts` soonest.

    `fetched` are the parts that the online supply would be asked for instead, where that
    differs (upstream's images in the place of stand-ins). A joined mirror first brings what is
    missing here. Its `why` is set. Raises
    UsageError for an unknown name, EnvironmentLacks when neither supply can serve here.
    """
    wanted = tuple(parts)
    if name not in SUPPLIES:
        raise UsageError(f"there is no supply {name!r}", where="--supply", hint=", ".join(SUPPLIES))
    upstream = wanted if fetched is None else tuple(fetched)
    if mirror := index.joined():
        from harness.supply.mirror import client

        client.bring(mirror, name, wanted, upstream, progress)
    supply: Supply
    if name == "online":
        supply = OnlineSupply()
        supply.why = "it was asked for"
    elif name == "offline":
        supply = OfflineSupply()
        supply.why = "it was asked for"
    else:
        supply = _automatic(wanted, upstream, progress)
    return supply


def _automatic(parts: tuple[str, ...], fetched: tuple[str, ...], progress: Progress) -> Supply:
    offline, online = OfflineSupply(), OnlineSupply()
    if offline.cached(parts):
        offline.why = "everything is in the cache, built here earlier"
        return offline
    missing = online.missing(fetched)
    if not missing:
        online.why = "everything is on this machine already"
        return online
    answers = _ask_all(missing, progress)
    refused = [answer for answer in answers if answer.refused]
    if not refused:
        slowest = max((answer.seconds for answer in answers), default=0.0)
        names = _listed([answer.place.name for answer in answers]) or "LAB_DOWNLOADS"
        online.why = f"{names} answered in {slowest:.1f}s"
        return online
    problem = _problem(answers)
    obstacle = cannot_build()
    if obstacle:
        raise EnvironmentLacks(
            f"the parts of the labs can be neither fetched nor built here: {problem};"
            f" as for building, {obstacle}",
            where="--supply auto",
            hint="get a network (or name copies with LAB_MIRROR=host:port and "
            "LAB_DOWNLOADS=URL-or-folder), or run as root on Debian or Ubuntu, which can build "
            "all parts from packages",
        )
    offline.why = f"{problem}, this is a {_family()} host and you are root"
    return offline


def survey(parts: Iterable[str], seconds: float | None = None) -> list[Answer]:
    """What every place says that the online supply would need for `parts` on an empty machine.

    `seconds` is how long each may take.
    """
    found = (find_part(name).at(OnlineSupply.name) for name in parts)
    return _ask_all([part for part in found if part.online], None, seconds)


def _family() -> str:
    """Debian or Ubuntu: which of them this host is or derives from."""
    release = platform.freedesktop_os_release()
    is_ubuntu = "ubuntu" in (release["ID"], *release.get("ID_LIKE", "").split())
    return "Ubuntu" if is_ubuntu else "Debian"


def _ask_all(
    missing: list[Part], progress: Progress | None, seconds: float | None = None
) -> list[Answer]:
    """Ask every place that holds one of `missing`, all at once."""
    seconds = seconds or ASK_SECONDS
    company.ca_file()
    places = _places(missing)
    if progress:
        progress.start("supply", f"asking {_listed([place.name for place in places])}")
    answers: dict[str, Answer] = {}

    def ask(place: Place) -> None:
        answers[place.name] = _ask(place, seconds)

    threads = [threading.Thread(target=ask, args=(place,), daemon=True) for place in places]
    for thread in threads:
        thread.start()
    # Looking up a name has no limit of its own: a thread that hangs there is left behind.
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"no answer in {seconds:.0f}s"
    asked = [answers.get(place.name, Answer(place, seconds, late)) for place in places]
    if progress:
        refused = [str(answer) for answer in asked if answer.refused]
        progress.done("supply", "; ".join(refused) if refused else "all answer")
    return asked


def _places(missing: list[Part]) -> list[Place]:
    """Where `missing` parts are, each place once. LAB_DOWNLOADS as a folder is not asked."""
    found: dict[str, Place] = {}
    for part in missing:
        if part.kind == "image":
            place = _registry(Reference.parse(part.online["image"]))
        else:
            if part.kind == "chart" and charts.named_registry():
                host = urlsplit(charts.named_registry()).netloc
                urls = tuple(f"{scheme}://{host}/v2/" for scheme in ("https", "http"))
                found.setdefault(host, Place(f"the chart registry {host}", urls, registry=True))
                continue
            if part.kind == "chart" and charts.local(part):
                continue
            release = ChartRelease(part) if part.kind == "chart" else Release(part, Host.here())
            url = release.checksum
            if "://" not in url:
                continue
            place = Place(urlsplit(url).netloc, (url,), registry=False)
        found.setdefault(place.name, place)
    return list(found.values())


def _registry(wanted: Reference) -> Place:
    mirror = registries.mirror()
    if not mirror:
        host = _DOCKER_HUB.get(wanted.registry, wanted.registry)
        return Place(wanted.registry, (f"https://{host}/v2/",), registry=True)
    host = wanted.through(mirror).registry
    # The engine takes plain http from the loopback, and from where its own settings say so.
    schemes = ("https", "http")
    return Place(f"the mirror {host}", tuple(f"{s}://{host}/v2/" for s in schemes), registry=True)


def _ask(place: Place, seconds: float) -> Answer:
    start = time.monotonic()
    refused = ""
    for url in place.urls:
        try:
            status = web.status(url, seconds)
        except web.BROKEN as error:
            refused = web.reason(error)
            continue
        if _good(status, place, url):
            return Answer(place, time.monotonic() - start)
        refused = f"it answers {status}"
    return Answer(place, time.monotonic() - start, refused)


def _good(status: int, place: Place, url: str) -> bool:
    """Whether this status comes from a place that serves parts (and not from a portal)."""
    if status == 200 or (place.registry and status == 401):
        return True
    return 300 <= status < 400 and url.startswith("https:")


def _problem(answers: list[Answer]) -> str:
    """What stands in the way of online, in one clause; equal reasons are said once."""
    registries_asked = [answer for answer in answers if answer.place.registry]
    refused = [answer for answer in answers if answer.refused]
    what = "not every place that holds a part answers"
    if registries_asked and all(answer.refused for answer in registries_asked):
        what, refused = "no container registry answers", registries_asked
    by_reason: dict[str, list[str]] = {}
    for answer in refused:
        by_reason.setdefault(answer.refused, []).append(answer.place.name)
    clauses = [f"{_listed(names)}: {why}" for why, names in by_reason.items()]
    return f"{what} ({'; '.join(clauses)})"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
