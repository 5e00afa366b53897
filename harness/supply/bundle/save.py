"""Writing a bundle: each frame by itself beside the file, then all of them into it.

A frame is named after what is in it and appears by one rename, so that an interrupted save goes
on with those that it has. The file itself appears by one rename as well; then the frames go.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.base import statefile, tasks
from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.paths import CHECKOUT, INSTALLED, cache_root
from harness.base.progress import Progress
from harness.supply import images
from harness.supply.base import Provided, find_part
from harness.supply.bundle import format as form
from harness.supply.bundle import pack, wheels
from harness.supply.offline.cache import MANIFEST, Cache, facts_of
from harness.supply.offline.recipes import all_recipes
from harness.supply.offline.supply import OfflineSupply

TASK = "bundle"
OWN_USE_LICENCE = "BUSL"
NOTICE = (
    "Programs and images under HashiCorp's Business Source License (BUSL-1.1) are in this file for "
    "your own use: do not publish it and do not hand it on. The parts are marked own_use."
)


@dataclass(frozen=True)
class Frame:
    """A frame to be written: its record without size and sum, and what writes it to a file."""

    kind: str
    name: str
    identity: str
    write: Callable[[Path, pack.Say], None]
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def save(
    file: Path,
    supply: str,
    provided: Mapping[str, Provided],
    labs: Sequence[str],
    progress: Progress,
) -> form.Bundle:
    """Write the bundle of `provided`, which the supply of that name gave, and of the wheels.

    Raises EnvironmentLacks when the disk is full or the wheels cannot be fetched.
    """
    progress.start(TASK, "looking for the Python packages")
    try:
        packages = wheels.ensure()
        frames = offline(provided) if supply == "offline" else online(provided)
        work = file.with_name(f"{file.name}.partial")
        try:
            work.mkdir(parents=True, exist_ok=True)
            with statefile.exclusively(work):
                manifest = manifest_of(supply, provided, labs)
                _assemble(file, work, manifest, packages, list(frames), progress)
                shutil.rmtree(work)
        except OSError as error:
            raise EnvironmentLacks(
                f"the bundle cannot be written: {error.strerror or error}",
                where=str(file),
                hint="make room, or name a file on another disk; the same command goes on",
            ) from error
    except BaseException:
        progress.fail(TASK, "stopped")
        raise
    bundle = form.read(file)
    progress.done(TASK, f"{file.stat().st_size / 1e6:.0f} MB")
    return bundle


def manifest_of(
    supply: str, provided: Mapping[str, Provided], labs: Sequence[str]
) -> form.Manifest:
    """What is said about these parts, without the records of any frame."""
    return form.Manifest(
        platform=form.here(),
        python=form.python_here(),
        lock=form.lock_sum(),
        commit=commit_here(),
        supply=supply,
        labs=tuple(labs),
        parts=tuple(map(_described, provided.values())),
        notice=NOTICE if any(map(_is_for_own_use, provided)) else "",
    )


def offline(provided: Iterable[str]) -> Iterator[Frame]:
    """The entries of the offline supply's cache; one that another is made of lies beside it."""
    recipes, cache = all_recipes(), Cache()
    groups: list[dict[str, str]] = []
    for recipe, key in OfflineSupply().entries(provided).items():
        needs = recipes[recipe].needs
        group = next((group for group in groups if set(group) & set(needs)), None)
        if group is None:
            groups.append(group := {})
        group[recipe] = key
    for group in groups:
        folders = [cache.entry(recipe, key) for recipe, key in group.items()]
        root = folders[0].parents[1]
        files = {
            f"{folder.relative_to(root)}/{name}": facts
            for folder in folders
            for name, facts in statefile.read_json(folder / MANIFEST)["files"].items()
        }
        yield _tree(form.PARTS, "+".join(group), root, files)


def online(provided: Mapping[str, Provided]) -> Iterator[Frame]:
    """Programs and charts as they were downloaded; the images of the engine, layers once."""
    root = cache_root() / "downloads"
    for part in provided.values():
        if part.path is None:
            continue
        if not part.path.is_relative_to(root):
            raise UsageError(
                f"{part.part} is not one of this project's downloads",
                where=str(part.path),
                hint="unset LAB_CHARTS",
            )
        folder = root / part.path.relative_to(root).parts[0]
        files = {
            str(path.relative_to(root)): facts_of(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        yield _tree(form.DOWNLOADS, part.part, root, files)
    references = sorted({part.image for part in provided.values() if part.image})
    digests = sorted({part.digest for part in provided.values() if part.image})

    def write(target: Path, say: pack.Say) -> None:
        pack.write_stream(target, images.saved(*references), say)

    yield Frame(form.IMAGES, "images", repr((references, digests)), write)


def _tree(kind: str, name: str, root: Path, files: Mapping[str, Mapping[str, Any]]) -> Frame:
    def write(target: Path, say: pack.Say) -> None:
        pack.write_files(target, root, files, say)

    return Frame(
        kind, name, repr(sorted((name, dict(of)) for name, of in files.items())), write, files
    )


def _assemble(
    file: Path,
    work: Path,
    manifest: form.Manifest,
    packages: Sequence[Path],
    frames: Sequence[Frame],
    progress: Progress,
) -> None:
    """Write the frames that are missing in `work`, then the whole file."""
    records: list[tuple[form.Record, Path, bytes]] = []
    for package in packages:
        head = form.skippable(package.stat().st_size)
        records.append((record_of(form.WHEEL, package.name, package, head), package, head))
    records += [(record, place, b"") for record, place in written(work, frames, TASK, progress)]
    progress.update(TASK, "writing the file")
    beside = work / "whole"
    with beside.open("wb") as target:
        listed = tuple(record for record, _, _ in records)
        target.write(replace(manifest, records=listed).encoded())
        for _, source, head in records:
            target.write(head)
            with source.open("rb") as content:
                shutil.copyfileobj(content, target, form.CHUNK)
    beside.replace(file)


def written(
    work: Path, frames: Sequence[Frame], task: str, progress: Progress
) -> Iterator[tuple[form.Record, Path]]:
    """The record and the file in `work` of each frame; those that are missing are made."""
    for number, frame in enumerate(frames, 1):
        place = work / f"{hashlib.sha256(frame.identity.encode()).hexdigest()[:32]}.zst"
        if not place.exists():
            about = f"{frame.name} ({number} of {len(frames)})"

            def say(doing: str, about: str = about) -> None:
                tasks.check()
                progress.update(task, f"{about}: {doing}")

            beside = place.with_suffix(".new")
            frame.write(beside, say)
            beside.replace(place)
        yield record_of(frame.kind, frame.name, place, files=frame.files), place


def record_of(
    kind: str,
    name: str,
    file: Path,
    head: bytes = b"",
    files: Mapping[str, Mapping[str, Any]] | None = None,
) -> form.Record:
    """The record of a frame that is `head` and the content of `file`."""
    sum_ = hashlib.sha256(head)
    with file.open("rb") as stream:
        while chunk := stream.read(form.CHUNK):
            sum_.update(chunk)
    return form.Record(kind, name, len(head) + file.stat().st_size, sum_.hexdigest(), files or {})


def _is_for_own_use(part: str) -> bool:
    return OWN_USE_LICENCE in find_part(part).licence


def _described(part: Provided) -> Mapping[str, Any]:
    return {
        "name": part.part,
        "version": part.version,
        "licence": find_part(part.part).licence,
        "digest": part.digest,
        "image": part.image,
        "upstream": part.upstream,
        "own_use": _is_for_own_use(part.part),
    }


def commit_here() -> str:
    """The commit of this checkout, "" where git does not say."""
    if INSTALLED:
        return ""  # git would speak of the project that the virtual environment lies in
    try:
        ended = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""
