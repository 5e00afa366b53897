"""The engine that this project starts itself: whose it is, what it leaves, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from harness.base import labels
from harness.base.errors import EnvironmentLacks, UsageError
from harness.supply.engine import contexts, dockerd, limits, options, proc
from tests.fakes import engine as fakes

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="an engine is started on Linux only"
)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test away from this machine's engine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = tmp_path / "run"
    (run / "docker/containerd").mkdir(parents=True)
    monkeypatch.setattr(dockerd, "_RUN", run)
    monkeypatch.setattr(dockerd, "SYSTEM_CONTAINERD", run / "containerd.sock")
    monkeypatch.setattr(contexts, "DEFAULT_SOCKET", run / "docker.sock")
    return run


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits to be ended."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def _claim(pid: int, started: str | None = None) -> None:
    record = dockerd.Record(pid, started or proc.started(pid), proc.boot())
    file = dockerd._record_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(record)), encoding="utf-8")


def test_without_a_record_no_engine_is_ours() -> None:
    assert not dockerd.is_ours()
    assert dockerd.stop() is False


def test_a_record_cut_short_claims_nothing() -> None:
    _claim(os.getpid())
    assert dockerd.is_ours()
    file = dockerd._record_file()
    file.write_text(file.read_text("utf-8")[:-9], encoding="utf-8")
    assert not dockerd.is_ours()


def test_a_process_id_that_was_used_again_is_not_ours(child: subprocess.Popen[bytes]) -> None:
    _claim(child.pid, started="1")
    assert dockerd.stop() is False
    assert child.poll() is None
    assert not dockerd._record_file().exists()


def test_stop_ends_the_engine_that_is_ours(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dockerd, "_foreign_containers", lambda: [])
    _claim(child.pid)
    assert dockerd.stop() is True
    assert proc.started(child.pid) == ""
    assert not dockerd._record_file().exists()


def test_stop_spares_an_engine_with_other_peoples_containers(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dockerd, "_foreign_containers", lambda: ["somebodys-database"])
    _claim(child.pid)
    with pytest.raises(UsageError, match="somebodys-database"):
        dockerd.stop()
    assert child.poll() is None


def container(name: str, networks: list[str], **labels: str) -> dict[str, Any]:
    """What the engine tells about a container that runs."""
    return {
        "Id": name,
        "Name": f"/{name}",
        "State": {"Status": "running"},
        "Config": {"Labels": labels, "Image": "any"},
        "NetworkSettings": {"Networks": {network: {} for network in networks}},
    }


OURS = [
    container("lab-vault", ["kube-vault-labs-lab"], **labels.labels_of("lab")),
    container("kvl-lab-control-plane", ["kube-vault-labs-lab"], **{labels.KIND_LABEL: "kvl-lab"}),
]
THEIRS = [
    container("kind-control-plane", ["kind"], **{labels.KIND_LABEL: "kind"}),
    container("kvl-mine-control-plane", ["kind"], **{labels.KIND_LABEL: "kvl-mine"}),
    container("compose-db", ["x"], **{labels.MANAGED_BY: "some-operator"}),
    container("half", ["kube-vault-labs-lab"], **{labels.MANAGED_BY: "kube-vault-labs"}),
    container("plain", ["bridge"]),
]


@pytest.mark.parametrize("theirs", [[], THEIRS[:1], THEIRS])
def test_only_containers_of_the_labs_own_environments_end_with_the_engine(
    child: subprocess.Popen[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    theirs: list[dict[str, Any]],
) -> None:
    there = [*OURS, *theirs]
    answers = {
        "/version": fakes.DOCKER,
        "/info": fakes.INFO,
        "/containers/json": [{"Id": one["Id"]} for one in there],
        **{f"/containers/{one['Id']}/json": one for one in there},
    }
    _claim(child.pid)
    with fakes.listening(tmp_path / "d.sock", answers) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        if not theirs:
            assert dockerd.stop() is True
            return
        with pytest.raises(UsageError, match="no environment of the labs") as caught:
            dockerd.stop()
    assert child.poll() is None
    for one in there:
        assert (one["Id"] in caught.value.what) is (one in theirs)
        assert (one["Id"] in caught.value.hint) is (one in theirs)


@pytest.fixture
def shims(own_folders: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes with a shim's words: of the engine in `own_folders`, and of another."""
    program = "import threading; threading.Event().wait(60)"
    addresses = (own_folders / "docker/containerd/containerd.sock", own_folders / "other.sock")
    processes = [
        subprocess.Popen([sys.executable, "-c", program, "-namespace", "moby", "-address", address])
        for address in addresses
    ]
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def test_orphans_are_those_of_this_engine_alone(shims: list[subprocess.Popen[bytes]]) -> None:
    assert set(dockerd.orphans()) == {shims[0].pid}


def test_orphans_of_a_stopped_engine_are_ended(
    own_folders: Path,
    child: subprocess.Popen[bytes],
    shims: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dockerd, "_foreign_containers", lambda: [])
    (own_folders / "docker.pid").write_text(str(child.pid), encoding="ascii")
    _claim(child.pid)
    dockerd.stop()
    assert shims[0].wait(5) == -9
    assert shims[1].poll() is None


def test_a_run_folder_of_another_engine_is_left_alone(
    own_folders: Path,
    child: subprocess.Popen[bytes],
    shims: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dockerd, "_foreign_containers", lambda: [])
    (own_folders / "docker.pid").write_text("1", encoding="ascii")
    _claim(child.pid)
    assert dockerd.stop() is True
    assert shims[0].poll() is None


def test_dead_leftovers_go_and_live_ones_stay(own_folders: Path) -> None:
    stale = own_folders / "docker.pid"
    stale.write_text(str(os.getpid()), encoding="ascii")  # alive, but no dockerd
    nonsense = own_folders / "docker/containerd/containerd.pid"
    nonsense.write_text("", encoding="ascii")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as closed:
        closed.bind(str(own_folders / "docker.sock"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as live:
        live.bind(str(own_folders / "containerd.sock"))
        live.listen()
        dockerd.clear_leftovers()
        assert not stale.exists()
        assert not nonsense.exists()
        assert not (own_folders / "docker.sock").exists()
        assert (own_folders / "containerd.sock").exists()


def test_a_containerd_that_is_about_to_end_is_given_its_moment(
    own_folders: Path, tmp_path: Path
) -> None:
    program = tmp_path / "containerd"
    program.symlink_to(shutil.which("sleep") or "/bin/sleep")
    pid_file = own_folders / "docker/containerd/containerd.pid"
    with subprocess.Popen([program, "0.5"]) as dying:
        pid_file.write_text(str(dying.pid), encoding="ascii")
        assert proc.program(dying.pid) == "containerd"
        dockerd.clear_leftovers()
        assert not pid_file.exists()


def test_a_containerd_that_lives_on_is_left_alone(
    own_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dockerd, "ENDING_SECONDS", 0.5)
    program = tmp_path / "containerd"
    program.symlink_to(shutil.which("sleep") or "/bin/sleep")
    pid_file = own_folders / "docker/containerd/containerd.pid"
    with subprocess.Popen([program, "60"]) as living:
        pid_file.write_text(str(living.pid), encoding="ascii")
        dockerd.clear_leftovers()
        assert pid_file.exists()
        assert living.poll() is None
        living.kill()


@pytest.mark.parametrize(
    ("bounding_set", "lacks"), [("000001fffeffffff", True), ("000001ffffffffff", False)]
)
def test_the_missing_capability_is_read_from_the_bounding_set(
    bounding_set: str, lacks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    status.write_text(f"CapEff:\t0\nCapBnd:\t{bounding_set}\n")
    monkeypatch.setattr(limits, "_STATUS", status)
    assert limits.lacks_sys_resource() is lacks


def test_low_inotify_limits_are_raised_and_high_ones_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "max_user_instances").write_text("128\n")
    (tmp_path / "max_user_watches").write_text("9999999\n")
    monkeypatch.setattr(limits, "_INOTIFY", tmp_path)
    limits.raise_inotify()
    assert limits.inotify_instances() == limits.INOTIFY_INSTANCES
    assert (tmp_path / "max_user_watches").read_text() == "9999999\n"


def test_no_engine_is_started_for_a_named_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{contexts.DEFAULT_SOCKET}")
    monkeypatch.setattr(dockerd, "start", lambda: pytest.fail("started an engine"))
    with pytest.raises(EnvironmentLacks, match="no container engine answers"):
        dockerd.ensure()


def test_no_engine_is_started_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(dockerd, "_is_debian_like", lambda: True)
    with pytest.raises(EnvironmentLacks, match="needs root"):
        dockerd.ensure()


def test_an_engine_that_dies_at_start_shows_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("dockerd", "iptables"):
        (programs / name).write_text("#!/bin/sh\necho 'no space left' >&2\nexit 3\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(limits, "_INOTIFY", tmp_path)
    with pytest.raises(EnvironmentLacks, match="status 3") as caught:
        dockerd.start()
    assert "no space left" in str(caught.value)
    assert not dockerd.is_ours()


def _run_wrapper(tmp_path: Path, *words: str) -> str:
    """Run the installed wrapper with a `runc` that prints its words."""
    runc = tmp_path / "bin/runc"
    runc.parent.mkdir(exist_ok=True)
    runc.write_text('#!/bin/sh\necho "$@"\n')
    runc.chmod(0o755)
    wrapper = options.install_wrapper()
    env = {"PATH": f"{runc.parent}:/usr/bin:/bin"}
    return subprocess.run(
        [wrapper, *words], env=env, capture_output=True, text=True, check=True, timeout=20
    ).stdout.strip()


PROCESS = {
    "args": ["sh"],
    "oomScoreAdj": -500,
    "capabilities": {
        "bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"],
        "effective": ["CAP_SYS_RESOURCE"],
        "ambient": None,
    },
}
SOFTENED = {"bounding": ["CAP_CHOWN"], "effective": [], "ambient": []}


def test_the_wrapper_softens_a_container(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"ociVersion": "1.0", "process": PROCESS}))
    words = ("--root", "/run/x", "create", "--bundle", str(tmp_path), "abc")
    assert _run_wrapper(tmp_path, *words) == " ".join(words)
    after = json.loads(config.read_text("utf-8"))
    assert after["ociVersion"] == "1.0"
    assert after["process"]["capabilities"] == SOFTENED
    assert after["process"]["oomScoreAdj"] is None
    assert after["process"]["args"] == ["sh"]


@pytest.mark.parametrize("form", ["--process={}", "-p {}", "--process {}"])
def test_the_wrapper_softens_a_process(form: str, tmp_path: Path) -> None:
    file = tmp_path / "process.json"
    file.write_text(json.dumps(PROCESS))
    words = ["exec", *form.format(file).split(), "abc"]
    assert _run_wrapper(tmp_path, *words) == " ".join(words)
    assert json.loads(file.read_text("utf-8"))["capabilities"] == SOFTENED


def test_the_wrapper_passes_everything_else_on(tmp_path: Path) -> None:
    assert _run_wrapper(tmp_path, "state", "abc") == "state abc"
