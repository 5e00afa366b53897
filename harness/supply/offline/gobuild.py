"""Building programs from Go modules: shared caches, memory, verified sources.

A committed module under clusters/offline/go names what is built; its go.sum verifies
every download, and a source that is changed before the build is checked against the sum
in versions.toml. All builds share one module cache and one build cache, with the same
flags, because they share most of their packages. The user's own Go caches are not used.
The Go release is not part of a cache key: the same source built by another release is
not another part.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.base.errors import LabError
from harness.supply import golang, oci
from harness.supply.base import Part
from harness.supply.offline.recipe import Job

# Without a garbage collector the compiler is a third faster than with Go's own setting, and a
# tenth faster than with 400; a build takes up to 5 GB.
GIB_WITHOUT_COLLECTOR = 12.0
GIB_OF_A_BUILD = 5.0
GIB_FOR_TWO_BUILDS = 16.0
_NICENESS = 10

_lock = threading.Lock()
_running = 0


def build(
    job: Job,
    folder: Path,
    packages: Iterable[str],
    *,
    tags: Iterable[str] = (),
    variables: Mapping[str, str] | None = None,
) -> None:
    """Compile `packages` of the module in `folder` to static programs under `job.out`/bin.

    A program is called like the last element of its package. `variables` are string
    variables set by the linker ("import/path.name" -> value). Reports how far it is.
    """
    tags = list(tags)
    words = ["-tags", ",".join(tags)] if tags else []
    packages = list(packages)
    go = toolchain(job)
    job.say("downloading Go modules")
    listing = job.run([go, "list", "-deps", *words, *packages], env=_variables(job), cwd=folder)
    total = sum(1 for line in listing.splitlines() if not line.startswith("go: "))
    done = 0

    def count(_: str) -> None:
        nonlocal done
        done += 1
        if done % 10 == 0 or done == 1:
            job.say(f"compiling, {done} of at most {total} packages")

    linked = ["-s", "-w", *(f"-X={name}={value}" for name, value in (variables or {}).items())]
    programs = job.out / "bin"
    programs.mkdir(exist_ok=True)
    with _collector() as collector:
        words = [*golang.FLAGS, *words, "-ldflags", " ".join(linked), "-o", f"{programs}/"]
        job.run(
            [go, "build", "-v", *words, *packages],
            env={**_variables(job), "GOGC": collector},
            cwd=folder,
            on_line=count,
            niceness=_NICENESS if job.background else 0,
        )


def prepare(job: Job, name: str) -> Path:
    """A fresh copy of the committed module `name` in the work folder, to add sources to."""
    folder = job.work / name
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(golang.module(name), folder)
    return folder


def source(job: Job, part: Part) -> Path:
    """The module of `part` in the module cache, downloaded and checked. Do not write there.

    Its sum must be the part's `offline.sum`. Raises LabError when it is another.
    """
    name = f"{part.offline['module']}@v{part.version}"
    # The sum in versions.toml says what is expected: no need to ask the public log.
    env = {**_variables(job), "GOSUMDB": "off", "GOFLAGS": "-mod=mod"}
    output = job.run([toolchain(job), "mod", "download", "-json", name], env=env, cwd=job.work)
    answer = json.loads(output[output.index("{") : output.rindex("}") + 1])
    if answer.get("Sum") != part.offline["sum"]:
        raise LabError(
            f"the source of {name} is not what is pinned: {answer.get('Sum')}",
            where=f"versions.toml, parts.{part.name}, offline.sum = {part.offline['sum']}",
            hint="do not build it; compare the two sums with the module's publisher",
        )
    return Path(answer["Dir"])


def copy_source(origin: Path, target: Path, leave_out: Iterable[str] = ()) -> None:
    """Copy a module out of the read-only module cache, without its tests.

    `leave_out` names top-level folders that are not needed.
    """
    unwanted = set(leave_out)

    def ignored(folder: str, names: list[str]) -> set[str]:
        tests = {name for name in names if name.endswith("_test.go")}
        return tests | (unwanted if Path(folder) == origin else set())

    shutil.copytree(origin, target, ignore=ignored)
    for path in (target, *target.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


def change_line(file: Path, old: str, new: str) -> None:
    """Put `new` in the place of `old` in a copied source; `old` must be there exactly once."""
    text = file.read_text(encoding="utf-8")
    if text.count(old) != 1:
        raise LabError(
            f"the source has the line that must change {text.count(old)} times, not once",
            where=f"{file}: {old}",
            hint="another version of this source needs another change, or none: see its recipe",
        )
    file.write_text(text.replace(old, new), encoding="utf-8")


def available_gib(file: Path = Path("/proc/meminfo")) -> float:
    """Memory that programs can take without swapping, in GiB; 0 when that cannot be read."""
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB", file.read_text("ascii"), re.MULTILINE)
    except OSError:
        return 0.0
    return int(match[1]) / 2**20 if match else 0.0


@contextmanager
def _collector() -> Iterator[str]:
    """Go's GOGC for a build that runs meanwhile: "off" where there is memory for that.

    Builds that began just now have yet to take theirs.
    """
    global _running
    with _lock:
        others = _running
        _running += 1
    try:
        free = available_gib() - others * GIB_OF_A_BUILD
        yield "off" if free >= GIB_WITHOUT_COLLECTOR else "400"
    finally:
        with _lock:
            _running -= 1


def _variables(job: Job) -> dict[str, str]:
    return golang.variables(job.shared, oci.architecture())


def toolchain(job: Job) -> Path:
    """The `go` command for a job (harness.supply.golang.toolchain)."""
    return golang.toolchain(job.shared, job.run, job.say)
