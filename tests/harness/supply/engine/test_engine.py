"""Finding a container engine: what answers, what does not, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import EnvironmentLacks
from harness.supply.engine import capabilities, engine
from tests.fakes import engine as fake_engine

Listen = Callable[[dict[str, Any]], None]


@pytest.fixture(autouse=True)
def docker_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests hold where Docker is not installed."""
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")


@pytest.fixture
def listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listen]:
    """Start a fake engine with the given answers and point DOCKER_HOST at it."""
    open_servers = []

    def start(answers: dict[str, Any]) -> None:
        server = fake_engine.listening(tmp_path / "engine.sock", answers)
        monkeypatch.setenv("DOCKER_HOST", server.__enter__())
        open_servers.append(server)

    yield start
    for server in open_servers:
        server.__exit__(None, None, None)


def test_an_engine_that_answers_is_described(listen: Listen) -> None:
    listen({"/version": fake_engine.DOCKER, "/info": fake_engine.INFO})
    found = engine.find()
    assert found is not None
    assert (found.version, found.api, found.cgroup, found.storage) == (
        "20.10.24", (1, 41), "1", "overlay2",
    )  # fmt: skip
    assert found.free_bytes is not None
    assert found.free_bytes > 0
    assert "Docker 20.10.24" in str(found)


@pytest.mark.parametrize("left", ["nothing", "a plain file", "a socket without a listener"])
def test_no_listener_means_no_engine(
    left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "engine.sock"
    if left == "a plain file":
        path.touch()
    elif left == "a socket without a listener":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as closed:
            closed.bind(str(path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    assert engine.find() is None


def test_missing_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as closed:
        closed.bind(str(path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(EnvironmentLacks, match="may not talk") as caught:
        engine.find()
    assert "usermod" in caught.value.hint
    assert caught.value.exit_code == 3


def test_podman_is_refused(listen: Listen) -> None:
    podman = {**fake_engine.DOCKER, "Components": [{"Name": "Podman Engine"}]}
    listen({"/version": podman, "/info": fake_engine.INFO})
    with pytest.raises(EnvironmentLacks, match="Podman"):
        engine.find()


def test_something_else_on_the_socket_is_one_sentence(listen: Listen) -> None:
    listen({})
    with pytest.raises(EnvironmentLacks, match="does not answer as Docker does"):
        engine.find()


def test_the_api_version_is_agreed_on_once(listen: Listen) -> None:
    answers = {"/version": fake_engine.DOCKER, "/info": fake_engine.INFO}
    listen(answers)
    assert engine.find()
    del answers["/version"]
    assert engine.client().api.api_version == "1.41", "it was not asked again"
    answers["/version"] = {**fake_engine.DOCKER, "ApiVersion": "1.43"}
    assert engine.find()
    assert engine.client().api.api_version == "1.43", "another engine may be there by now"


def test_what_the_engine_has_not_is_no_error(listen: Listen) -> None:
    listen({"/version": fake_engine.DOCKER, "/images/app:1/json": {"Id": "sha256:1"}})
    assert engine.container("nothing") is None
    assert engine.image_id("nothing:1") == ""
    assert engine.image_id("app:1") == "sha256:1"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("tcp://192.0.2.7:2375", "another machine"),
        ("ssh://somebody@192.0.2.7", "not one that the labs can use"),
        ("http+unix://x", "not one that the labs can use"),
    ],
)
def test_engines_elsewhere_are_refused(
    host: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    for ask in (engine.find, engine.client):
        with pytest.raises(EnvironmentLacks, match=said) as caught:
            ask()
        assert caught.value.where == "DOCKER_HOST"


def test_a_closed_loopback_port_means_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    assert engine.find() is None


def _engine(**changes: Any) -> capabilities.Engine:
    usual = capabilities.Engine(
        address="unix:///var/run/docker.sock",
        version="28.0.0",
        api=(1, 48),
        cgroup="2",
        storage="overlay2",
        data_root=Path("/var/lib/docker"),
        free_bytes=20 * 1024**3,
        rootless=False,
    )
    return dataclasses.replace(usual, **changes)


def test_a_usable_engine_passes() -> None:
    capabilities.check(_engine())
    capabilities.check(_engine(free_bytes=None))


def test_the_docker_command_is_needed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EnvironmentLacks, match="kind works through it"):
        capabilities.check(_engine())


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"api": (1, 40)}, "too old"), ({"free_bytes": 2 * 1024**3}, "2.0 GiB are free")],
)
def test_an_engine_that_cannot_carry_a_cluster_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(EnvironmentLacks, match=said):
        capabilities.check(_engine(**changes))


@pytest.mark.parametrize("cgroup", ["1", "2"])
def test_a_rootless_engine_is_one_sentence(cgroup: str) -> None:
    rootless = _engine(rootless=True, cgroup=cgroup)
    if cgroup == "2":
        capabilities.check(rootless)
        assert len(capabilities.warnings(rootless)) == 1
        return
    with pytest.raises(EnvironmentLacks, match="rootless on a host with cgroup v1"):
        capabilities.check(rootless)


# What Docker 28.5.2 answers where images lie in containerd's store, cut down to what is read.
CONTAINERD_STORE = {
    "Driver": "overlayfs",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    "DockerRootDir": "/",
    "CgroupVersion": "2",
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=selinux", "name=cgroupns"],
}


def test_a_current_engine_is_described(listen: Listen) -> None:
    ahead = (datetime.now(UTC) + timedelta(minutes=3)).isoformat().replace("+00:00", "123Z")
    listen({"/version": fake_engine.DOCKER, "/info": {**CONTAINERD_STORE, "SystemTime": ahead}})
    found = engine.find()
    assert found is not None
    assert found.containerd_store
    assert found.selinux
    assert not found.rootless
    assert found.cgroup == "2"
    assert 170 < found.clock < 190
    assert "containerd image store" in str(found)


@pytest.mark.parametrize(("options", "mode"), [(["name=selinux"], "ro,z"), ([], "ro")])
def test_selinux_wants_a_label_on_bind_mounts(
    listen: Listen, options: list[str], mode: str
) -> None:
    listen({"/version": fake_engine.DOCKER, "/info": {"SecurityOptions": options}})
    assert engine.bind_mode("ro") == mode


@pytest.mark.parametrize("options", [{engine.MTU_OPTION: "1400", "other": "x"}, {}])
def test_a_network_gets_the_mtu_of_the_engines_own(listen: Listen, options: dict[str, str]) -> None:
    bridge = {"Id": "b", "Name": "bridge", "Options": options}
    listen({"/version": fake_engine.DOCKER, "/networks/bridge": bridge})
    with closing(engine.client()) as client:
        wanted = {engine.MTU_OPTION: "1400"} if options else {}
        assert engine.network_options(client) == wanted


def test_an_engine_without_a_network_of_its_own_has_no_mtu(listen: Listen) -> None:
    listen({"/version": fake_engine.DOCKER})
    with closing(engine.client()) as client:
        assert engine.network_options(client) == {}


def test_warnings_name_what_will_be_slow() -> None:
    said = " ".join(capabilities.warnings(_engine(storage="vfs", rootless=True)))
    assert "vfs" in said
    assert "rootless" in said
    assert capabilities.warnings(_engine()) == []
