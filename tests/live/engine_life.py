"""What an engine goes through, in namespaces of its own; run by test_engine_life.py.

Not a test module: it is a program, started inside fresh mount, network and process
namespaces with an empty /run and an empty data root, so that the engine of this machine
is out of reach of everything that happens here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.errors import UsageError
from harness.base.labels import labels_of
from harness.base.wait import wait_for
from harness.supply import images
from harness.supply.engine import contexts, dockerd, engine, proc

ENGINE_PID = Path("/var/run/docker.pid")
CONTAINERD_PID = Path("/var/run/docker/containerd/containerd.pid")
OURS = {"dockerd", "containerd", "containerd-shim", "sleep", "busybox"}


def left() -> set[str]:
    """The programs of an engine and its container that run here."""
    return OURS & {proc.program(pid) for pid in proc.with_words()}


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout


def run_sleeper(*words: str) -> None:
    docker("run", "-d", "--net=none", *words, "kube-vault-labs/sleeper:1")


def start_container(folder: Path) -> None:
    """A privileged container that sleeps: what fails where a capability is missing."""
    entry = folder / "0123456789abcdef"
    entry.mkdir()
    with tarfile.open(entry / "rootfs.tar", "w") as archive:
        archive.add(shutil.which("busybox") or "/bin/busybox", "bin/busybox")
    config = {"Entrypoint": ["/bin/busybox", "sleep", "600"], "StopSignal": "SIGKILL"}
    (entry / "image.json").write_text(json.dumps(config), encoding="utf-8")
    made = images.ensure(entry, "kube-vault-labs/sleeper:1")
    assert images.ensure(entry, "kube-vault-labs/sleeper:1") == made
    ours = [f"--label={key}={value}" for key, value in labels_of("sleepers").items()]
    run_sleeper("--privileged", "--name=sleeper", *ours)
    said = docker("exec", "--privileged", "sleeper", "/bin/busybox", "echo", "hello")
    assert said == "hello\n", said


def kill(*files: Path) -> None:
    """End the processes of these pid files by force."""
    pids = [proc.pid_in(file) for file in files]
    for pid in pids:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    wait_for("them to end", lambda: not any(proc.started(pid or 0) for pid in pids), timeout=10)


def comes_back() -> None:
    """After any of this the engine starts again, is ours, runs a container, and ends."""
    dockerd.ensure()
    assert dockerd.is_ours()
    docker("restart", "sleeper")
    assert dockerd.stop() is True
    assert left() == set(), left()


def orderly(folder: Path) -> None:
    start_container(folder)
    first = proc.pid_in(ENGINE_PID)
    dockerd.ensure()
    assert proc.pid_in(ENGINE_PID) == first, "a running engine was not left alone"
    run_sleeper("--name=visitor")
    with pytest.raises(UsageError, match=r"of the labs: visitor\n"):
        dockerd.stop()
    docker("rm", "-f", "visitor")
    assert dockerd.stop() is True
    assert left() == set(), left()
    assert dockerd.stop() is False


def killed(folder: Path) -> None:
    start_container(folder)
    kill(ENGINE_PID)
    assert left(), "nothing was left behind to recover from"


def both_killed(folder: Path) -> None:
    start_container(folder)
    kill(ENGINE_PID, CONTAINERD_PID)
    assert contexts.DEFAULT_SOCKET.is_socket()


def stale_files(folder: Path) -> None:
    start_container(folder)
    dockerd.stop()
    ENGINE_PID.write_text(str(os.getpid()), encoding="ascii")
    dockerd.SYSTEM_CONTAINERD.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as closed:
        closed.bind(str(dockerd.SYSTEM_CONTAINERD))


def hung(folder: Path) -> None:
    start_container(folder)
    os.kill(proc.pid_in(ENGINE_PID) or 0, signal.SIGSTOP)
    dockerd.STOP_SECONDS = 5
    assert dockerd.stop(force=True) is True
    assert left() == set(), left()


SCENARIOS: dict[str, Callable[[Path], None]] = {
    scenario.__name__: scenario for scenario in (orderly, killed, both_killed, stale_files, hung)
}


def main(name: str, folder: Path) -> None:
    assert engine.find() is None, "the namespaces do not hide this machine's engine"
    dockerd.ensure()
    SCENARIOS[name](folder)
    comes_back()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
