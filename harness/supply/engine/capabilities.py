"""What an engine says about itself, and whether the labs can run on it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.base.errors import EnvironmentLacks
from harness.supply.engine import contexts

# kind needs cgroup namespaces: API 1.41, Docker 20.10.
OLDEST_API = (1, 41)
# One node unpacked with its /var, Vault, PostgreSQL and room to work.
NEEDED_BYTES = 4 * 1024**3
OTHER_ENGINE = "unset DOCKER_HOST and DOCKER_CONTEXT, docker context use default"


@dataclass(frozen=True)
class Engine:
    """A container engine that answered, and what matters about it to the labs.

    `free_bytes` is the space left for its data, None where that folder is not visible
    from here (Docker Desktop keeps it inside a virtual machine). `containerd_store`: images
    lie in containerd's store, as indexes of which the engine may have one platform alone.
    `clock` is how many seconds its clock is ahead of this machine's.
    """

    address: str
    version: str
    api: tuple[int, ...]
    cgroup: str
    storage: str
    data_root: Path
    free_bytes: int | None
    rootless: bool
    selinux: bool = False
    containerd_store: bool = False
    clock: float = 0.0
    has_proxy: bool = False

    def __str__(self) -> str:
        free = "" if self.free_bytes is None else f", {self.free_bytes / 1024**3:.0f} GiB free"
        store = ", containerd image store" if self.containerd_store else ""
        return (
            f"Docker {self.version} at {self.address} "
            f"(cgroup v{self.cgroup}, {self.storage} in {self.data_root}{store}{free})"
        )


def describe(address: str, version: Mapping[str, Any], info: Mapping[str, Any]) -> Engine:
    """The engine that gave these answers (API, `/version` and `/info`).

    Raises EnvironmentLacks for one that only resembles Docker.
    """
    names = {part.get("Name", "") for part in version.get("Components") or []}
    if any("podman" in name.lower() for name in names):
        raise EnvironmentLacks(
            f"the engine at {address} is Podman, which the labs do not support",
            where=contexts.current().source,
            hint=f"install Docker Engine; {OTHER_ENGINE}",
        )
    data_root = Path(info.get("DockerRootDir") or "/var/lib/docker")
    security = security_options(info)
    store = ["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or [])
    return Engine(
        address=address,
        version=version["Version"],
        api=tuple(int(number) for number in version["ApiVersion"].split(".")),
        cgroup=str(info.get("CgroupVersion") or "1"),
        storage=info.get("Driver") or "unknown",
        data_root=data_root,
        free_bytes=shutil.disk_usage(data_root).free if data_root.is_dir() else None,
        rootless="rootless" in security,
        selinux="selinux" in security,
        containerd_store=store,
        clock=_clock(str(info.get("SystemTime") or "")),
        has_proxy=bool(info.get("HttpProxy") or info.get("HttpsProxy")),
    )


def security_options(info: Mapping[str, Any]) -> set[str]:
    """The names in what the engine lists as `name=selinux` or `name=seccomp,profile=default`."""
    options = info.get("SecurityOptions") or []
    return {option.partition(",")[0].removeprefix("name=") for option in options}


def _clock(now: str) -> float:
    """By how many seconds the engine's time is ahead; 0 for a time that cannot be read."""
    try:
        # Nanoseconds are more digits than Python's parser takes.
        there = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", now))
    except ValueError:
        return 0.0
    return (there - datetime.now(UTC)).total_seconds() if there.tzinfo else 0.0


def check(engine: Engine) -> None:
    """Raise EnvironmentLacks when a cluster cannot run on `engine`."""
    if shutil.which("docker") is None:
        raise EnvironmentLacks(
            "the docker command is not there, and kind works through it",
            where="PATH",
            hint="apt-get install docker.io, or the package docker-ce-cli of Docker's own",
        )
    if engine.api < OLDEST_API:
        raise EnvironmentLacks(
            f"Docker {engine.version} is too old: kind needs 20.10 or newer",
            where=engine.address,
            hint="upgrade Docker Engine",
        )
    if engine.rootless and engine.cgroup == "1":
        raise EnvironmentLacks(
            "the engine is rootless on a host with cgroup v1, where kind cannot make a node",
            where=engine.address,
            hint=f"boot with cgroup v2, or use an engine that runs as root; {OTHER_ENGINE}",
        )
    if engine.free_bytes is not None and engine.free_bytes < NEEDED_BYTES:
        raise EnvironmentLacks(
            f"{engine.free_bytes / 1024**3:.1f} GiB are free where the engine keeps its data, "
            f"a cluster needs {NEEDED_BYTES // 1024**3}",
            where=str(engine.data_root),
            hint="docker system df, then docker image prune or docker volume prune",
        )


def warnings(engine: Engine) -> list[str]:
    """What does not stop a cluster but will slow or limit it, one sentence each."""
    found = []
    if engine.storage == "vfs":
        found.append("the storage driver vfs copies each image for each container: expect to wait")
    if engine.rootless:
        found.append("the engine is rootless: kind needs delegated cgroups, the labs are untested")
    return found
