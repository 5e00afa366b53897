"""Adding an integration is adding one file: it is found, installed, repaired and removed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound

from harness import integrations
from harness.base import paths
from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.redact import Secret
from harness.environment import parts
from harness.environment.bringup import BringUp
from harness.environment.cluster import Cluster
from harness.environment.environment import Environment, Options
from harness.lab.catalog import all_labs, find_lab
from harness.lab.context import LabContext
from harness.servers.vault import VaultServer
from harness.servers.vault_files import Keys
from harness.supply.base import Provided, all_parts
from harness.supply.engine import engine
from harness.supply.into_nodes import NodeImages
from tests.fakes import toyintegration
from tests.fakes.cluster import FakeKube
from tests.fakes.progress import Silent

Data = dict[str, Any]


class Container:
    """One container of the fake engine."""

    def __init__(self, engine: Engine, name: str, labels: Data) -> None:
        self.engine, self.name, self.labels, self.status = engine, name, labels, "running"

    def remove(self, **_: object) -> None:
        del self.engine.by_name[self.name]


class Engine:
    """As much of a docker client as bringing an environment up and down takes."""

    def __init__(self) -> None:
        self.by_name: dict[str, Container] = {}
        self.networks: Any = SimpleNamespace(
            get=self._no_network, create=lambda *_, **__: None, list=lambda names: []
        )
        self.volumes: Any = SimpleNamespace(list=lambda **_: [])
        self.containers = self
        self.images_loaded: list[str] = []

    def close(self) -> None:
        """Nothing is open."""

    def run(self, image: str, command: object, *, name: str, labels: Data, **_: object) -> None:
        self.by_name[name] = Container(self, name, labels)

    def get(self, name: str) -> Container:
        if name not in self.by_name:
            raise NotFound(name)
        return self.by_name[name]

    def list(self, filters: Data, **_: object) -> list[Container]:
        key, _, value = filters["label"].partition("=")
        return [one for one in self.by_name.values() if one.labels.get(key) == value]

    def _no_network(self, name: str) -> None:
        raise NotFound(name)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine, a supply, a cluster and a Vault that are always there."""
    fake = Engine()
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(engine, "client", lambda: fake)
    monkeypatch.setattr(engine, "find", lambda: "an engine")

    def provide(
        _option: str, _flavours: list[str], needs: list[str], *_: object, **__: object
    ) -> tuple[Any, dict[str, Provided]]:
        names = ["kind", "kubectl", "node", "vault", "app", *integrations.parts_of(needs)]
        found = {
            name: Provided(name, "1", "here", True, "", path=tmp_path / name)
            if all_parts()[name].kind == "binary"
            else Provided(name, "1", "here", True, "", image=f"{name}:1")
            for name in names
        }
        return SimpleNamespace(name="offline", why="a test"), found

    monkeypatch.setattr(parts, "provide", provide)
    monkeypatch.setattr(Cluster, "up", lambda *_: True)
    monkeypatch.setattr(NodeImages, "adopt", lambda *_: None)
    monkeypatch.setattr(NodeImages, "lacks", lambda _, images: list(images))
    monkeypatch.setattr(NodeImages, "load", lambda _, images: fake.images_loaded.extend(images))
    monkeypatch.setattr(VaultServer, "up", lambda *_, **__: "created")
    monkeypatch.setattr(VaultServer, "ip", lambda _: "172.18.0.2")
    keys = Keys(Secret("hvs.made-up-root-token-of-a-test"), Secret("made-up-unseal-key"), "vault")
    monkeypatch.setattr(VaultServer, "keys", keys)
    kube = FakeKube()
    monkeypatch.setattr(BringUp, "_kube", lambda _self, _namespace: kube)
    return fake


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The one file."""
    folder = tmp_path / "more"
    folder.mkdir()
    toyintegration.add(folder, monkeypatch)
    yield
    sys.modules.pop("harness.integrations.toy", None)


@pytest.fixture
def up() -> Callable[[], Environment]:
    """Brings the environment up with the toy."""

    def bring() -> Environment:
        environment = Environment("unit")
        environment.up(Options(needs=("toy",)), Silent())
        return environment

    return bring


def test_one_file_is_installed_repaired_used_and_removed(
    fake: Engine, toy: None, up: Callable[[], Environment]
) -> None:
    environment = up()
    (name,) = fake.by_name
    assert name == f"{paths.PROJECT}-unit-toy"
    assert "app:1" in fake.images_loaded
    assert LabContext(environment.access(), find_lab("01")).client("toy") == name
    fake.by_name[name].status = "exited"
    up()
    assert fake.by_name[name].status == "running"
    environment.down()
    assert not fake.by_name
    assert not environment.folder.exists()


def test_down_removes_an_environment_whose_record_cannot_be_read(
    fake: Engine, toy: None, up: Callable[[], Environment]
) -> None:
    environment = up()
    (environment.folder / "environment.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        up()
    environment.down()
    assert not fake.by_name
    assert not environment.folder.exists()


def test_down_twice_is_fine_and_a_name_that_never_was_is_refused(
    fake: Engine, toy: None, up: Callable[[], Environment]
) -> None:
    environment = up()
    with pytest.raises(UsageError, match="no environment 'unti'") as caught:
        Environment("unti").down()
    assert caught.value.hint == "there are: unit"
    assert environment.down()
    assert environment.down() == []
    with pytest.raises(UsageError, match="no environment 'unti'") as caught:
        Environment("unti").down()
    assert "there is none" in caught.value.hint


def test_down_finds_an_environment_whose_folder_was_removed_by_hand(
    fake: Engine, toy: None, up: Callable[[], Environment]
) -> None:
    environment = up()
    shutil.rmtree(environment.folder.parent)
    assert environment.down()
    assert not fake.by_name


def test_down_of_a_half_made_environment_works(fake: Engine) -> None:
    environment = Environment("unit")
    environment.folder.mkdir(parents=True)
    assert environment.down() == ["state folder unit"]


def test_without_an_engine_nothing_is_called_gone(
    fake: Engine, toy: None, up: Callable[[], Environment], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = up()
    monkeypatch.setattr(engine, "find", lambda: None)
    monkeypatch.setattr(engine, "address", lambda: "unix:///nowhere")
    with pytest.raises(EnvironmentLacks, match="unit stays as it is"):
        environment.down()
    assert environment.folder.exists()


def test_without_the_file_there_is_no_such_integration() -> None:
    with pytest.raises(UsageError, match="no integration 'toy'") as caught:
        integrations.find("toy")
    assert "second-vault" in caught.value.hint


@pytest.mark.parametrize("word", ["helm", "base", "../toy", "second_vault", ""])
def test_what_no_integration_is_called_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="there is no integration"):
        integrations.find(word)


def test_every_integration_is_called_like_its_module_and_its_parts_are_pinned() -> None:
    found = [integrations.find(name) for name in integrations.names()]
    assert [one.name for one in found] == integrations.names()
    assert {need for lab in all_labs() for need in lab.needs} <= {one.name for one in found}
    for one in found:
        assert one.about
        assert {*one.parts, *(one.upstream_parts or ()), *one.pod_images} <= set(all_parts())


def test_pods_find_the_images_of_either_supply_in_the_node() -> None:
    for name in integrations.names():
        one = integrations.find(name)
        images = {
            part
            for part in (*one.parts, *(one.upstream_parts or ()))
            if all_parts()[part].kind == "image"
        }
        # PostgreSQL runs beside the cluster; every other image is run by pods.
        assert images - {"postgres"} == set(one.pod_images)
