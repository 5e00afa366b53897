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
from functools import partial

import docker

from harness.base import tasks
from harness.base.errors import EnvironmentLacks, LabError, UsageError
from harness.base.progress import Progress
from harness.supply.base import Part, Provided, Supply, find_part
from harness.supply.engine import engine
from harness.supply.images import KEY_LABEL
from harness.supply.lock import Lock
from harness.supply.online import built_image, registries
from harness.supply.online.downloads import Host, Release
from harness.supply.online.registries import LocalImage, Reference

# How many parts are fetched at once: more would only share the same line.
AT_ONCE = 4

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
        work: dict[str, Callable[[], Provided]] = {}
        for part in wanted:
            getter = self._program if part.kind == "binary" else self._image
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

    def _image(self, part: Part, say: Say) -> Provided:
        with _client() as client:
            if part.online.get("build"):
                return self._built(client, part, say)
            wanted = Reference.parse(part.online["image"])
            image, origin = self._pulled(client, wanted, say)
        return _provided(part, str(wanted), image, origin)

    def _pulled(
        self, client: docker.DockerClient, wanted: Reference, say: Say
    ) -> tuple[LocalImage, str]:
        """The image in the engine, and where it came from."""
        image = registries.local(client, str(wanted))
        if image is None:
            image = registries.pull(client, wanted, self.lock, say)
        elif not image.digests:
            # Loaded from a file or built: no registry ever gave it a digest.
            return image, f"{wanted}, local, digest not checked"
        seen = self.lock.seen(str(wanted))
        if seen is None:
            self.lock.record(str(wanted), image.digests[0], "the engine's own images")
        elif seen.digest not in image.digests:
            self.lock.check(str(wanted), image.digests[0], "the image in the engine")
        through = "" if seen is None or seen.source == str(wanted) else f", from {seen.source}"
        return image, f"{wanted}{through}"

    def _built(self, client: docker.DockerClient, part: Part, say: Say) -> Provided:
        base = Reference.parse(part.online["image"])
        name = built_image.name_of(part)
        image = built_image.present(client, part)
        if image and KEY_LABEL not in image.labels:
            return _provided(part, name, image, f"{name}, local, not built here")
        if image is None:
            with self._base:
                self._pulled(client, base, say)
            image = built_image.build(client, part, str(base), say)
        return _provided(part, name, image, f"built here from {base}")


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
    progress.done(name, "fetched" if fetched else "already here")
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
    """The part, provided that this supply has a way to get it."""
    part = find_part(name)
    if part.kind not in ("image", "binary"):
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


def _present(client: docker.DockerClient, part: Part) -> bool:
    if part.online.get("build"):
        return built_image.present(client, part) is not None
    return registries.local(client, part.online["image"]) is not None


def _provided(part: Part, reference: str, image: LocalImage, origin: str) -> Provided:
    return Provided(
        part=part.name,
        version=part.version,
        origin=origin,
        upstream=bool(part.online.get("upstream", True)),
        digest=image.id,
        image=reference,
    )
