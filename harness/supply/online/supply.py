"""The online supply: upstream's images and release binaries, each digest seen once.

Images are pulled by the engine (harness.supply.online.registries), programs are downloaded here
(harness.supply.online.downloads), two images are built on the publisher's Debian
(harness.supply.online.built_image). What is there already is used without any network. Parts are
fetched side by side; the first failure or Ctrl-C stops the others, and what they have
fetched so far is kept for the next run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import docker

from harness.base import tasks
from harness.base.errors import EnvironmentLacks, LabError, UsageError
from harness.base.progress import Progress
from harness.supply.base import Part, Provided, Supply, find_part
from harness.supply.engine import engine
from harness.supply.images import KEY_LABEL
from harness.supply.lock import Lock, Seen
from harness.supply.online import built_image, charts, company, registries
from harness.supply.online.downloads import Host, Release
from harness.supply.online.registries import LocalImage, Reference

# How many parts are fetched at once: more would only share the same line.
AT_ONCE = 4
ENGINES_OWN = "the image in the engine"

Say = Callable[[str], None]
Work = Callable[[Say], Provided]


class OnlineSupply(Supply):
    """Upstream's own parts, from registries and publishers or from named mirrors of them."""

    name = "online"

    def __init__(self, why: str = "", lock: Lock | None = None) -> None:
        self.why = why
        self.lock = lock or Lock()
        # Two images are built on one base, at the same time.
        self._base = threading.Lock()

    def provide(self, parts: Iterable[str], progress: Progress) -> dict[str, Provided]:
        """See Supply.provide. UsageError when something changed since it was first seen."""
        wanted = [_checked(name) for name in dict.fromkeys(parts)]
        registries.mirror()
        company.ca_file()
        work: dict[str, Callable[[], Provided]] = {}
        for part in wanted:
            getter = {"binary": self._program, "chart": self._chart}.get(part.kind, self._image)
            work[part.name] = partial(_reported, part.name, partial(getter, part), progress)
        return tasks.side_by_side(work, AT_ONCE)

    def ready(self, parts: Iterable[str]) -> bool:
        """See Supply.ready."""
        return not self.missing(parts)

    def missing(self, parts: Iterable[str]) -> list[Part]:
        """The parts that would have to be fetched. Asks the disk and the engine only."""
        wanted = [_checked(name) for name in dict.fromkeys(parts)]
        programs = [part for part in wanted if part.kind == "binary"]
        images = [part for part in wanted if part.kind == "image"]
        host = Host.here() if programs else None
        missing = [part for part in programs if host and not Release(part, host).find()]
        missing += [part for part in wanted if part.kind == "chart" and not _chart_is_here(part)]
        if not images:
            return missing
        if engine.find() is None:
            return missing + images
        with _client() as client:
            return missing + [part for part in images if not _present(client, part)]

    def _program(self, part: Part, say: Say) -> Provided:
        stored = Release(part, Host.here()).fetch(self.lock, say)
        return Provided(
            part=part.name,
            version=part.version,
            origin=stored.url,
            upstream=True,
            digest=stored.sum,
            path=stored.path,
        )

    def _chart(self, part: Part, say: Say) -> Provided:
        found = charts.local(part)
        if found:
            origin, digest = str(found), charts.digest(found)
        else:
            stored = charts.release(part).fetch(self.lock, say)
            found, origin, digest = stored.path, stored.url, stored.sum
        return Provided(part.name, part.version, origin, True, digest, path=found)

    def _image(self, part: Part, say: Say) -> Provided:
        with _client() as client:
            if part.online.get("build"):
                return self._built(client, part, say)
            wanted = _reference(part)
            found = self._pulled(client, part, say)
        return _provided(part, str(wanted), found.image, found.origin, found.note)

    def _pulled(self, client: docker.DockerClient, part: Part, say: Say) -> _Found:
        """The image in the engine, pulled first when it is not there or not the pinned one."""
        wanted, moves = _reference(part), bool(part.online.get("moves"))
        image = registries.local(client, str(wanted))
        if image and not image.digests:
            # Loaded from a file or built: no registry ever gave it a digest.
            return _Found(image, f"{wanted}, local, digest not checked")
        seen = self.lock.seen(str(wanted))
        if image and wanted.digest in image.digests:
            return _Found(image, _through(wanted, seen))
        if image is None or (wanted.digest and (seen is None or seen.digest not in image.digests)):
            try:
                image, moved = registries.pull(client, wanted, self.lock, say, moves=moves)
            except EnvironmentLacks:
                if image is None:
                    raise
                return _Found(image, f"{wanted}, local", "the local image is not the pinned one")
            seen = self.lock.seen(str(wanted))
        else:
            digest = image.digests[0] if seen is None else _agreed(image, seen)
            moved = self.lock.record(str(wanted), digest, ENGINES_OWN, moves=moves)
        note = f"its publisher moved the tag since {moved.on[:10]}" if moved else ""
        if wanted.digest and wanted.digest not in image.digests:
            note = f"{registries.mirror() or 'the engine'} has another image than the pinned one"
        return _Found(image, _through(wanted, seen), note)

    def _built(self, client: docker.DockerClient, part: Part, say: Say) -> Provided:
        base = _reference(part)
        name = built_image.name_of(part)
        image = built_image.present(client, part)
        if image and KEY_LABEL not in image.labels:
            return _provided(part, name, image, f"{name}, local, not built here")
        if image is None:
            with self._base:
                self._pulled(client, part, say)
            image = built_image.build(client, part, str(base), say)
        return _provided(part, name, image, f"built here from {base}")


@dataclass(frozen=True)
class _Found:
    """An image in the engine, where it came from, what a person should know about it."""

    image: LocalImage
    origin: str
    note: str = ""


def _reference(part: Part) -> Reference:
    return Reference.parse(part.online["image"], part.online.get("digest", ""))


def _through(wanted: Reference, seen: Seen | None) -> str:
    foreign = seen and seen.source not in (str(wanted), ENGINES_OWN)
    return f"{wanted}, from {seen.source}" if seen and foreign else str(wanted)


def _agreed(image: LocalImage, seen: Seen) -> str:
    """The digest of a local image that has several: the one on record, if it is among them."""
    return seen.digest if seen.digest in image.digests else image.digests[0]


def _reported(name: str, work: Work, progress: Progress) -> Provided:
    """Do one piece of work and report how it goes; `say` raises tasks.Ended when all is ended."""
    fetched = False

    def say(doing: str) -> None:
        nonlocal fetched
        fetched = True
        tasks.check()
        progress.update(name, doing)

    progress.start(name, "looking for it")
    try:
        provided = work(say)
    except BaseException as error:
        # Once everything is being ended, what breaks is a consequence.
        what = error.what if isinstance(error, LabError) else str(error)
        progress.fail(name, "stopped" if tasks.ended() else what)
        raise
    outcome = "fetched" if fetched else "already here"
    progress.done(name, f"{outcome}; {provided.note}" if provided.note else outcome)
    return provided


@contextmanager
def _client() -> Iterator[docker.DockerClient]:
    """A client, closed at the end."""
    client = engine.client()
    try:
        yield client
    finally:
        client.close()


def _checked(name: str) -> Part:
    """The part as this supply has it, provided that it has a way to get it."""
    part = find_part(name).at(OnlineSupply.name)
    if part.kind not in ("image", "binary", "chart"):
        raise UsageError(
            f"{name} is an ingredient of other parts and is never supplied by itself",
            where="clusters/versions.toml",
        )
    if not part.online:
        raise EnvironmentLacks(
            f"upstream publishes no {name} that this project could fetch",
            where="clusters/versions.toml",
            hint="--supply offline builds it (Debian or Ubuntu, as root)",
        )
    return part


def _chart_is_here(part: Part) -> bool:
    return charts.local(part) is not None or charts.release(part).find() is not None


def _present(client: docker.DockerClient, part: Part) -> bool:
    if part.online.get("build"):
        return built_image.present(client, part) is not None
    return registries.local(client, part.online["image"]) is not None


def _provided(
    part: Part, reference: str, image: LocalImage, origin: str, note: str = ""
) -> Provided:
    return Provided(
        part=part.name,
        version=part.version,
        origin=origin,
        upstream=bool(part.online.get("upstream", True)),
        digest=image.id,
        image=reference,
        note=note,
    )
