"""Loading a bundle: all of it is checked, then what the cache and the engine lack is written.

A part appears in the cache by one rename, as if it had been built or downloaded there; so an
interrupted load goes on with what is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from docker.errors import DockerException

from harness.base import statefile, tasks
from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.paths import cache_root
from harness.base.progress import Progress
from harness.supply import images
from harness.supply.base import SUPPLIES, find_part
from harness.supply.bundle import format as form
from harness.supply.bundle import front, pack, wheels
from harness.supply.bundle.writing import writing
from harness.supply.engine import dockerd, engine
from harness.supply.offline.cache import Cache
from harness.supply.offline.supply import OfflineSupply

TASK = "bundle"
SPARE_BYTES = 512 << 20


def verify(file: Path, progress: Progress) -> form.Bundle:
    """The bundle in `file`, every sum compared. Raises UsageError for what cannot be loaded."""
    progress.start(TASK, "reading it")
    try:
        bundle = form.read(file)
        form.check(bundle, lambda doing: _say(progress, doing))
        if bundle.manifest.lock != form.lock_sum():
            raise front.other_version(bundle.manifest, str(file), "its Python packages")
        require_same_parts(bundle.manifest, str(file))
    except BaseException:
        progress.fail(TASK, "cannot be loaded")
        raise
    progress.done(TASK, f"{file.stat().st_size / 1e6:.0f} MB, every sum is right")
    return bundle


def load(file: Path, progress: Progress) -> form.Bundle:
    """Put everything in `file` where `up` looks for it; see `verify` for what is refused."""
    bundle = verify(file, progress)
    progress.start(TASK, "loading")
    with writing(progress, TASK):
        _require_room(bundle)
        if bundle.manifest.python == form.python_here():
            front.take_wheels(bundle)
            names = {r.name for r in bundle.manifest.records if r.kind == form.WHEEL}
            wheels.remember(names, bundle.manifest.lock, bundle.manifest.python)
        loaded = 0
        for record, position in bundle.frames():
            if record.kind == form.PARTS:
                loaded += put_parts(bundle, record, position, progress)
            elif record.kind == form.DOWNLOADS:
                loaded += put_download(bundle, record, position, progress)
            elif record.kind == form.IMAGES:
                loaded += _images(bundle, record, position, progress)
    progress.done(TASK, "loaded" if loaded else "everything was here already")
    return bundle


def require_same_parts(manifest: form.Manifest, where: str, hint: str = "") -> None:
    """Refuse parts that this checkout would not look for (see front.other_version)."""

    def other(what: str) -> UsageError:
        return front.other_version(manifest, where, what, hint)

    if manifest.supply not in SUPPLIES:
        raise other(f"the supplies ({manifest.supply})")
    try:
        names = [str(part["name"]) for part in manifest.parts]
        pins = [(find_part(str(one["name"])), one["version"]) for one in manifest.parts]
    except (UsageError, KeyError, TypeError) as error:
        raise other("its parts") from error
    for part, version in pins:
        if part.at(manifest.supply).version != version:
            raise other(f"the versions of {part.name}")
    if manifest.supply == "offline":
        wanted = OfflineSupply().entries(names)
        held = dict(entry for record in manifest.records for entry in entries(record).items())
        if differing := [name for name, key in wanted.items() if held.get(name) != key]:
            raise other(f"the recipes of {', '.join(differing)}")


def entries(record: form.Record) -> Mapping[str, str]:
    """The cache entries in a record: recipe and key."""
    if record.kind != form.PARTS:
        return {}
    found = (name.split("/", 2) for name in record.files)
    return {recipe: key for recipe, key, _ in found}


def put_parts(bundle: form.Bundle, record: form.Record, position: int, progress: Progress) -> int:
    """The entries of a record that the cache lacks; returns how many."""
    cache = Cache()
    with ExitStack() as open_entries:
        folders: dict[str, Path] = {}
        undone: list[Path] = []
        for recipe, key in entries(record).items():
            if cache.damage(recipe, key) == "":
                continue
            open_entries.enter_context(cache.lock(recipe))
            out, work = open_entries.enter_context(cache.making(recipe, key))
            folders[f"{recipe}/{key}"] = out
            undone += [out, work]
        if not folders:
            return 0

        def place(name: str) -> Path | None:
            recipe, key, rest = name.split("/", 2)
            folder = folders.get(f"{recipe}/{key}")
            return folder / rest if folder else None

        try:
            pack.read_files(bundle, record, position, place, _teller(progress, record))
        except BaseException:
            for folder in undone:
                shutil.rmtree(folder, ignore_errors=True)
            raise
    return len(folders)


def put_download(
    bundle: form.Bundle, record: form.Record, position: int, progress: Progress
) -> int:
    """A folder of the online supply's downloads, if it is not there."""
    root = cache_root() / "downloads"
    names = {name.split("/", 1)[0] for name in record.files}
    if all((root / name).is_dir() for name in names):
        return 0
    root.mkdir(parents=True, exist_ok=True)
    beside = root / f".{record.name}.loading"
    with statefile.exclusively(root):
        shutil.rmtree(beside, ignore_errors=True)
        try:
            pack.read_files(
                bundle, record, position, lambda name: beside / name, _teller(progress, record)
            )
            for name in names:
                shutil.rmtree(root / name, ignore_errors=True)
                (beside / name).rename(root / name)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return 1


def _images(bundle: form.Bundle, record: form.Record, position: int, progress: Progress) -> int:
    """The images of a record, into the engine."""
    dockerd.ensure()
    content = pack.read_stream(bundle.file, position, record.size)
    progress.update(TASK, "images: loading them into the engine")
    try:
        with closing(engine.client()) as client:
            images.load(client, content)
    except DockerException as error:
        raise EnvironmentLacks(
            f"the engine did not take the images: {error}",
            where=engine.address(),
            hint="docker system df; the same command goes on",
        ) from error
    return 1


def _require_room(bundle: form.Bundle) -> None:
    """Raise EnvironmentLacks when the disk cannot take what is unpacked."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    sizes = (int(of.get("size", 0)) for r in bundle.manifest.records for of in r.files.values())
    needed, free = sum(sizes) + SPARE_BYTES, shutil.disk_usage(root).free
    if free < needed:
        raise EnvironmentLacks(
            f"loading the bundle needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            where=str(root),
            hint="make room, or name another place with XDG_CACHE_HOME",
        )


def _teller(progress: Progress, record: form.Record) -> pack.Say:
    return lambda doing: _say(progress, f"{record.name}: {doing}")


def _say(progress: Progress, doing: str) -> None:
    tasks.check()
    progress.update(TASK, doing)
