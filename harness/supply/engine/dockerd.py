"""Starting a container engine where there is none, and stopping the one that was started.

On a Debian or Ubuntu host, as root: installs Debian's `docker.io` and `iptables` when
they are missing and runs dockerd in a session of its own, at the default socket and
data root, so that a plain `docker` command sees it too. Leftovers of an engine that
died (pid files, sockets without a listener, a containerd still alive) are distinguished
from a running one by asking the kernel, and only the dead ones are removed. A record in
the cache says which process is ours; no other engine is ever stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from docker.models.containers import Container

from harness.base import labels, process, wait
from harness.base.errors import EnvironmentLacks, GaveUp, UsageError
from harness.supply.engine import capabilities, contexts, limits, options, proc, sockets
from harness.supply.engine import engine as engines
from harness.supply.engine.capabilities import Engine

PACKAGES = ("docker.io", "iptables")
START_SECONDS = 60
PING_SECONDS = 2
STOP_SECONDS = 60
ENDING_SECONDS = 3
SYSTEM_CONTAINERD = Path("/run/containerd/containerd.sock")
_RUN = Path("/var/run")
_CONTAINERD = "docker/containerd/containerd"


@dataclass(frozen=True)
class Record:
    """Which process is the engine that was started here.

    `started` (clock ticks since boot) and `boot` make the process id unique.
    """

    pid: int
    started: str
    boot: str


def ensure(found: Engine | None = None) -> Engine:
    """The engine of this machine; started first where there is none and it can be.

    `found` is what the caller's own look has just found: it is not asked again. Raises
    EnvironmentLacks when none answers and this host is not one to start it on, or when the one
    that answers cannot carry a cluster.
    """
    found = found or engines.find()
    if found is None:
        _require_startable()
        start()
        found = engines.find()
        if found is None:
            raise EnvironmentLacks(
                "the engine stopped right after it started", where=str(_log()), hint="read that log"
            )
    capabilities.check(found)
    return found


def start() -> None:
    """Start dockerd detached and wait until it answers. Raises EnvironmentLacks with its log."""
    if not shutil.which("dockerd") or not shutil.which("iptables"):
        install()
        if Path("/run/systemd/system").is_dir():
            _wait_for_socket(None)  # the package's own service starts it: it is not ours
            return
    limits.raise_inotify()
    clear_leftovers()
    _folder().mkdir(parents=True, exist_ok=True)
    with _log().open("ab") as log:
        # Outlives this program by design: its own session, no inherited terminal.
        daemon = subprocess.Popen(
            ["dockerd", *options.for_this_host()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    record = Record(daemon.pid, proc.started(daemon.pid), proc.boot())
    _record_file().write_text(json.dumps(asdict(record)), encoding="utf-8")
    _wait_for_socket(daemon)


def install() -> None:
    """Install the engine's Debian packages (root, Debian or Ubuntu; checked by the caller)."""
    _folder().mkdir(parents=True, exist_ok=True)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    hint = "apt-get install docker.io iptables"
    process.run(["apt-get", "update", "-q"], env=quiet, log=_log(), timeout=300, hint=hint)
    process.run(
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES],
        env=quiet,
        log=_log(),
        timeout=900,
        hint=hint,
    )


def is_ours() -> bool:
    """Whether the engine that runs here is one that this project started."""
    record = _read_record()
    return (
        record is not None
        and record.started != ""  # it had ended before its start time could be read
        and record.boot == proc.boot()
        and proc.started(record.pid) == record.started
    )


def stop(*, force: bool = False) -> bool:
    """Stop the engine if it is ours; True when it was running and has ended.

    Its containers end with it. Raises UsageError when containers run in it that belong to
    none of the labs' environments, unless `force`.
    """
    record = _read_record()
    if record is None or not is_ours():
        _record_file().unlink(missing_ok=True)
        return False
    foreign = [] if force else _foreign_containers()
    if foreign:
        raise UsageError(
            "the engine still runs containers that belong to no environment of the labs: "
            + ", ".join(foreign),
            hint=f"they would end with the engine: docker stop {' '.join(foreign)}",
        )
    # The run folder may by now be another engine's.
    mine = orphans() if proc.pid_in(_RUN / "docker.pid") == record.pid else {}
    os.kill(record.pid, signal.SIGTERM)
    try:
        wait.wait_for("dockerd to end", lambda: not is_ours(), timeout=STOP_SECONDS)
    except GaveUp:
        os.kill(record.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record.pid, 0)  # a child where this very process started it
    for pid, started in mine.items():
        # Only what outlived a killed engine; after an orderly end nothing is left.
        if proc.started(pid) == started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    # A killed process takes a moment to go, longer on a busy machine.
    wait.wait_for(
        "what the engine had started to end",
        lambda: all(proc.started(pid) != started for pid, started in mine.items()),
        timeout=STOP_SECONDS,
    )
    _record_file().unlink(missing_ok=True)
    return True


def clear_leftovers() -> None:
    """Remove what a dead engine left behind and a new one would trip over."""
    _let_containerd_end()
    for pid_file, program in (
        (_RUN / "docker.pid", "dockerd"),
        (_RUN / f"{_CONTAINERD}.pid", "containerd"),
    ):
        pid = proc.pid_in(pid_file)
        if pid_file.exists() and (pid is None or proc.program(pid) != program):
            pid_file.unlink(missing_ok=True)
    for path in (
        contexts.DEFAULT_SOCKET,
        _RUN / f"{_CONTAINERD}.sock",
        # dockerd takes the system's containerd when this file is there, alive or not.
        SYSTEM_CONTAINERD,
    ):
        if path.is_socket() and not sockets.listens(path):
            path.unlink(missing_ok=True)


def _let_containerd_end() -> None:
    """Give the containerd of an engine that was killed the moment it needs to end with it.

    A new dockerd takes one that is alive for its own, and would wait for its answer in vain.
    One that stays alive is right to be taken.
    """
    pid = proc.pid_in(_RUN / f"{_CONTAINERD}.pid") or 0
    with contextlib.suppress(GaveUp):
        wait.wait_for(
            "the old engine's containerd to end",
            lambda: proc.program(pid) != "containerd",
            timeout=ENDING_SECONDS,
        )


def orphans() -> dict[int, str]:
    """What the engine of this run folder would leave running if it died by force.

    Its containerd, the shims that serve its containers and everything below them, with
    their start times. A shim is known by the socket of the containerd that it reports to.
    """
    sockets = {f"{_RUN}/{_CONTAINERD}.sock", f"{_RUN.resolve()}/{_CONTAINERD}.sock"}
    roots = set().union(*(proc.with_words("-namespace", "moby", "-address", s) for s in sockets))
    containerd = proc.pid_in(_RUN / f"{_CONTAINERD}.pid")
    if containerd is not None and proc.program(containerd) == "containerd":
        roots.add(containerd)
    return proc.below(roots)


def _require_startable() -> None:
    where, source = engines.address(), contexts.current().source
    if source:
        raise EnvironmentLacks(
            f"no container engine answers at {where}",
            where=source,
            hint=f"start that engine; or {capabilities.OTHER_ENGINE}",
        )
    if sys.platform != "linux" or not _is_debian_like():
        raise EnvironmentLacks(f"no container engine answers at {where}", hint=engines.GET_ONE)
    if os.geteuid() != 0:
        raise EnvironmentLacks(
            f"no container engine answers at {where}, and starting one needs root",
            hint="sudo apt-get install docker.io, or sudo systemctl start docker",
        )
    if shutil.which("dockerd") and Path("/run/systemd/system").is_dir():
        raise EnvironmentLacks(
            "Docker is installed but stopped, and systemd is who starts it",
            hint="systemctl start docker",
        )


def _is_debian_like() -> bool:
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return False
    entries = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    family = f"{entries.get('ID', '')} {entries.get('ID_LIKE', '')}".replace('"', "")
    return bool({"debian", "ubuntu"} & set(family.split()))


def _wait_for_socket(daemon: subprocess.Popen[bytes] | None) -> None:
    def answers() -> bool:
        if daemon is not None and daemon.poll() is not None:
            raise EnvironmentLacks(
                f"dockerd ended with status {daemon.returncode}:\n{_log_tail()}",
                where=str(_log()),
                hint="./lab doctor",
            )
        return sockets.answers(contexts.DEFAULT_SOCKET, PING_SECONDS)

    wait.wait_for(
        "the container engine to answer",
        answers,
        timeout=START_SECONDS,
        explain=_log_tail,
        hint=f"read {_log()}",
    )


def _foreign_containers() -> list[str]:
    connection = engines.client(engines.PING_SECONDS)
    try:
        return [
            container.name or container.short_id
            for container in connection.containers.list(ignore_removed=True)
            if not labels.is_of_an_environment(container.labels, _networks(container))
        ]
    finally:
        connection.close()


def _networks(container: Container) -> list[str]:
    return list(container.attrs["NetworkSettings"]["Networks"])


def _folder() -> Path:
    return options.folder()


def _log() -> Path:
    return _folder() / "dockerd.log"


def _record_file() -> Path:
    return _folder() / "engine.json"


def _log_tail(lines: int = 12) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(_log().read_text("utf-8", errors="replace").splitlines()[-lines:])
    return ""


def _read_record() -> Record | None:
    try:
        return Record(**json.loads(_record_file().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # no record, or one cut short: then nothing here is known to be ours
