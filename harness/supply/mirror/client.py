"""What a joined mirror brings: the parts that this machine lacks, put where a supply finds them.

Frames go into the cache as those of a bundle do. Images are pulled from the mirror's registry and
given to the engine; so the engine need not trust the mirror. What is fetched stays until it is in
its place: an interrupted call goes on with it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from docker.errors import DockerException

from harness.base import statefile, tasks
from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.progress import Progress
from harness.supply import images
from harness.supply.base import find_part
from harness.supply.bundle import format as form
from harness.supply.bundle import load
from harness.supply.bundle.writing import writing
from harness.supply.engine import engine
from harness.supply.mirror import front, index, registry
from harness.supply.mirror.connection import Connection
from harness.supply.mirror.index import FRAMES, WAY_OUT, ImageEntry, Index, Joined
from harness.supply.offline.cache import Cache
from harness.supply.offline.supply import OfflineSupply
from harness.supply.online.supply import OnlineSupply

TASK = "mirror"


def bring(
    mirror: Joined, supply: str, built: Iterable[str], fetched: Iterable[str], progress: Progress
) -> None:
    """Fetch from `mirror` what is missing of `built` (offline supply) or `fetched` (online).

    `supply` is what was asked for: a mirror of the other supply is left aside. What the mirror does
    not have is left to the supply. Raises LabError when the mirror fails.
    """
    offline = [name for name in built if "recipe" in find_part(name).offline]
    online = [name for name in fetched if find_part(name).online]
    if supply != "online" and OfflineSupply().cached(built):
        return
    if supply != "offline" and not OnlineSupply().missing(online):
        return
    progress.start(TASK, f"asking {mirror.url}")
    with writing(progress, TASK):
        asked = Connection(mirror.url, mirror.ca)
        found = index.parse(asked.get(index.INDEX), mirror.url)
        front.require_same_machine(found, mirror.url)
        kind = found.manifest.supply
        if supply not in ("auto", kind):
            progress.done(TASK, f"it has parts of the {kind} supply only")
            return
        load.require_same_parts(found.manifest, mirror.url, front.other_hint(mirror.url))
        brought = _bring(asked, found, offline if kind == "offline" else online, progress)
    progress.done(TASK, f"{brought / 1e6:.0f} MB from {mirror.url}")


def _bring(asked: Connection, found: Index, parts: list[str], progress: Progress) -> int:
    """Everything of `parts` that is missing; returns how many bytes the mirror sent."""
    folder = index.downloads()
    folder.mkdir(parents=True, exist_ok=True)

    def waiting() -> None:
        progress.update(TASK, "another process of this machine is fetching")

    with statefile.exclusively(folder, waiting):
        fetcher = _Fetcher(asked, found, folder, progress)
        if found.manifest.supply == "offline":
            fetcher.offline(parts)
        else:
            fetcher.online(parts)
        return fetcher.brought


class _Fetcher:
    """One call's work: what was asked, where downloads lie, how much has come."""

    def __init__(self, asked: Connection, found: Index, folder: Path, progress: Progress) -> None:
        self._asked, self._found, self._folder = asked, found, folder
        self._progress = progress
        self.brought = 0

    def offline(self, parts: list[str]) -> None:
        """The entries of the cache that `parts` need and that are not sound."""
        cache = Cache()
        entries = OfflineSupply().entries(parts)
        missing = {item for item in entries.items() if cache.damage(*item) != ""}
        for record in self._found.manifest.records:
            if record.kind == form.PARTS and missing & set(load.entries(record).items()):
                self._frame(record, load.put_parts)

    def online(self, parts: list[str]) -> None:
        """The downloads and images among `parts` that are not here."""
        missing = {part.name for part in OnlineSupply().missing(parts)}
        for record in self._found.manifest.records:
            if record.kind == form.DOWNLOADS and record.name in missing:
                self._frame(record, load.put_download)
        blobs: set[Path] = set()
        for image in self._found.images:
            if image.part in missing:
                blobs |= self._image(image)
        for blob in blobs:
            blob.unlink(missing_ok=True)

    def _frame(self, record: form.Record, put: Callable[..., int]) -> None:
        file = self._folder / f"{record.sha256}.zst"
        self._download(FRAMES + record.sha256, record.size, record.sha256, file, record.name)
        bundle = form.Bundle(file, self._found.manifest, 0)
        put(bundle, record, 0, self._progress)
        file.unlink()

    def _image(self, image: ImageEntry) -> set[Path]:
        """Pull one image and give it to the engine; returns the files it came in."""
        base = f"/v2/{image.repository}"
        text = self._asked.get(f"{base}/manifests/{image.digest}")
        if registry.Blob.of(text).digest != image.digest:
            raise _altered(image, self._asked.url)
        try:
            manifest = json.loads(text)
            wanted = [manifest["config"], *manifest["layers"]]
            files = [self._blob(base, one, image.part) for one in wanted]
            config, *layers = files
            content = config.read_bytes()
            with tempfile.TemporaryDirectory(dir=self._folder) as work:
                self._progress.update(TASK, f"{image.part}: unpacking")
                tars = registry.layer_files(content, layers, Path(work))
                self._progress.update(TASK, f"{image.part}: loading it into the engine")
                give_to_engine(image, content, tars)
        except (ValueError, KeyError, TypeError) as error:
            raise _altered(image, self._asked.url) from error
        return set(files)

    def _blob(self, base: str, described: dict[str, Any], name: str) -> Path:
        digest = statefile.field(described, "digest", str)
        size = statefile.field(described, "size", int)
        algorithm, _, sum_ = digest.partition(":")
        if algorithm != "sha256" or not form.is_sum(sum_):
            raise ValueError(f"{digest} is no digest")
        file = self._folder / sum_
        self._download(f"{base}/blobs/{digest}", size, sum_, file, name)
        return file

    def _download(self, path: str, size: int, sum_: str, file: Path, name: str) -> None:
        self._require_room(size)
        before = file.stat().st_size if file.exists() else 0

        def say(doing: str) -> None:
            tasks.check()
            self._progress.update(TASK, f"{name}: {doing}")

        self._asked.download(path, size, sum_, file, say)
        self.brought += size - before

    def _require_room(self, size: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < size + load.SPARE_BYTES:
            raise EnvironmentLacks(
                f"too little free disk for what the mirror has: {free / 1e6:.0f} MB of"
                f" {(size + load.SPARE_BYTES) / 1e6:.0f} MB",
                where=str(self._folder),
                hint="free some space, or name another place with XDG_CACHE_HOME",
            )


def give_to_engine(image: ImageEntry, config: bytes, layers: list[Path]) -> None:
    """Load an image that was pulled here under the engine's name for it."""
    try:
        with closing(engine.client()) as client:
            said = images.load(client, images.archive(image.reference, config, layers))[-1:]
            if images.find(client, image.reference) is None:
                raise EnvironmentLacks(
                    f"the engine did not take {image.reference}: {said or 'it did not say why'}",
                    where=engine.address(),
                    hint="docker system df; the log of the engine",
                )
    except DockerException as error:
        raise EnvironmentLacks(
            f"the engine did not take {image.reference}: {error}",
            where=engine.address(),
            hint="docker system df; the same command goes on",
        ) from error


def _altered(image: ImageEntry, url: str) -> UsageError:
    return UsageError(
        f"the mirror serves the image {image.reference} altered",
        where=url,
        hint=f"ask the person who runs the mirror, or {WAY_OUT}",
    )
