"""A Vault server's data outlives its container, its image, an interruption and a lost token.

The engine and the server are fakes: a volume holds what a Vault has stored, and a container
serves the volume that it mounts.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.errors import APIError, NotFound

from harness.base.errors import LabError, UsageError
from harness.base.redact import redact
from harness.clients.vault import VaultRefused
from harness.servers import vault
from harness.servers.flavours import FLAVOURS
from harness.servers.vault import VaultServer
from harness.supply.engine import engine

IMAGE, OTHER_IMAGE = "vault:1", "vault:2"
PORT = 18200
Data = dict[str, Any]


class Container:
    """A container of the fake engine; its server is up as soon as it is started."""

    def __init__(self, machine: Machine, image: str, labels: Data, ports: dict[int, int]) -> None:
        self.machine, self.labels = machine, labels
        bindings = {f"{inside}/tcp": [{"HostPort": str(port)}] for inside, port in ports.items()}
        self.attrs: Data = {"Image": f"id of {image}", "HostConfig": {"PortBindings": bindings}}
        self.status = "created"

    def start(self) -> None:
        if self.machine.refuses:
            raise cast(Any, APIError)("port is already allocated")
        self.status = "running"
        if self.machine.volume is not None:
            self.machine.volume["sealed"] = True

    def stop(self, timeout: int) -> None:
        self.status = "exited"

    def remove(self, **_: object) -> None:
        self.machine.container = None

    def logs(self, tail: int) -> bytes:
        return b"a log line"


class Machine:
    """One engine with at most one container and one volume; the volume is what Vault stored."""

    def __init__(self) -> None:
        self.container: Container | None = None
        self.volume: Data | None = None
        self.refuses = False
        self.interrupt_after_init = False
        self.containers_made = 0
        self.volumes = self

    # -- the engine ---------------------------------------------------------------------

    def close(self) -> None:
        """Nothing is open."""

    def create(self, name: str, labels: Data) -> None:
        if self.volume is None:
            self.volume = {"initialized": False, "sealed": True, "tokens": {}, "secrets": {}}

    def get(self, name: str) -> Any:
        if self.volume is None:
            raise NotFound(name)
        return SimpleNamespace(remove=lambda force: setattr(self, "volume", None))

    def server_container(self, image: str, **options: Any) -> Any:
        made = Container(self, image, options["labels"], options["ports"])

        def start() -> None:
            self.container = made
            self.containers_made += 1
            made.start()

        return SimpleNamespace(
            with_command=lambda _: None,
            with_volume_mapping=lambda *_: None,
            start=start,
            get_docker_client=lambda: SimpleNamespace(client=self),
        )

    # -- the server ---------------------------------------------------------------------

    def answer(self, method: str, path: str, token: str, body: Data) -> tuple[int, Data]:
        stored = self.volume
        assert stored is not None
        assert self.container is not None
        if path == "/v1/sys/seal-status":
            return 200, {"initialized": stored["initialized"], "sealed": stored["sealed"]}
        if path == "/v1/sys/init":
            stored |= {"initialized": True, "key": "unseal-key-of-a-test"}
            stored["tokens"] = {"root-token-of-a-test": "root"}
            if self.interrupt_after_init:
                raise KeyboardInterrupt
            return 200, {"root_token": "root-token-of-a-test", "keys_base64": [stored["key"]]}
        if path == "/v1/sys/unseal":
            stored["sealed"] = body["key"] != stored["key"]
            return 200, {}
        if stored["sealed"]:
            return 503, {"errors": ["Vault is sealed"]}
        if path == "/v1/sys/health":
            return 200, {}
        if token not in stored["tokens"]:
            return 403, {"errors": ["permission denied"]}
        if path == "/v1/auth/token/create":
            stored["tokens"][body["id"]] = body["display_name"]
        return 200, {"data": {"file/": {}}}


class HTTP:
    """Stands for VaultHTTP."""

    machine: Machine

    def __init__(self, addr: str, ca: Path, token: str | None) -> None:
        self.addr, self._token = addr, token

    def get(self, path: str, **options: Any) -> Any:
        return self._request("GET", path, **options)

    def put(self, path: str, **options: Any) -> Any:
        return self._request("PUT", path, **options)

    post = put

    def _request(
        self,
        method: str,
        path: str,
        token: str | None = None,
        allow: Collection[int] = (),
        json: Any = None,
        timeout: float = 0,
    ) -> Any:
        status, body = self.machine.answer(method, path, token or self._token or "", json or {})
        if status >= 400 and status not in allow:
            raise VaultRefused(method, path, status, body["errors"], "")
        return SimpleNamespace(status_code=status, json=lambda: body)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    HTTP.machine = made
    monkeypatch.setattr(vault, "VaultHTTP", HTTP)
    monkeypatch.setattr(vault, "server_container", made.server_container)
    monkeypatch.setattr(engine, "client", lambda: made)
    monkeypatch.setattr(engine, "container", lambda _: made.container)
    monkeypatch.setattr(engine, "image_id", lambda name: f"id of {name}")
    monkeypatch.setattr(engine, "bind_mode", lambda mode: mode)
    return made


def server(folder: Path, flavour: str = "vault") -> VaultServer:
    return VaultServer("workshop", FLAVOURS[flavour], folder / "vault", "net")


def store(machine: Machine, **secrets: str) -> None:
    assert machine.volume is not None
    machine.volume["secrets"] |= secrets


def stored(machine: Machine) -> Data:
    assert machine.volume is not None
    assert not machine.volume["sealed"]
    return dict(machine.volume["secrets"])


def test_it_is_made_once_and_left_alone(machine: Machine, tmp_path: Path) -> None:
    assert server(tmp_path).up(IMAGE, PORT) == "created, unsealed"
    token = server(tmp_path).token
    assert server(tmp_path).up(IMAGE, PORT) == "was running"
    assert server(tmp_path).token == token
    assert machine.containers_made == 1


def test_another_image_serves_the_same_data_and_says_so(machine: Machine, tmp_path: Path) -> None:
    server(tmp_path).up(IMAGE, PORT)
    store(machine, app="s3cr3t")
    keys = server(tmp_path).keys
    done = server(tmp_path).up(OTHER_IMAGE, PORT)
    assert done == "another image on the same data, unsealed"
    assert stored(machine) == {"app": "s3cr3t"}
    assert server(tmp_path).keys == keys
    assert machine.container
    assert machine.container.attrs["Image"] == f"id of {OTHER_IMAGE}"


def test_a_container_on_a_port_that_nobody_recorded_is_replaced(
    machine: Machine, tmp_path: Path
) -> None:
    server(tmp_path).up(IMAGE, PORT + 1)
    store(machine, app="s3cr3t")
    assert server(tmp_path).up(IMAGE, PORT) == "another port on the same data, unsealed"
    assert stored(machine) == {"app": "s3cr3t"}


def test_a_container_that_was_removed_by_hand_loses_nothing(
    machine: Machine, tmp_path: Path
) -> None:
    server(tmp_path).up(IMAGE, PORT)
    store(machine, app="s3cr3t")
    machine.container = None
    assert server(tmp_path).up(IMAGE, PORT) == "created, unsealed"
    assert stored(machine) == {"app": "s3cr3t"}


def test_an_image_that_cannot_be_started_loses_nothing(machine: Machine, tmp_path: Path) -> None:
    server(tmp_path).up(IMAGE, PORT)
    store(machine, app="s3cr3t")
    machine.refuses = True
    with pytest.raises(LabError, match="in use by another program"):
        server(tmp_path).up(OTHER_IMAGE, PORT)
    machine.refuses = False
    server(tmp_path).up(OTHER_IMAGE, PORT)
    assert stored(machine) == {"app": "s3cr3t"}


def test_another_flavour_asks_before_anything_is_lost(machine: Machine, tmp_path: Path) -> None:
    server(tmp_path).up(IMAGE, PORT)
    store(machine, app="s3cr3t")
    with pytest.raises(UsageError, match="was written by vault") as caught:
        server(tmp_path, "openbao").up(OTHER_IMAGE, PORT)
    assert "./lab up --new-vault --env workshop" in caught.value.hint
    assert stored(machine) == {"app": "s3cr3t"}
    server(tmp_path, "openbao").up(OTHER_IMAGE, PORT, new_vault=True)
    assert stored(machine) == {}


def test_another_storage_asks_before_anything_is_lost(machine: Machine, tmp_path: Path) -> None:
    server(tmp_path).up(IMAGE, PORT)
    store(machine, app="s3cr3t")
    file = tmp_path / "vault" / "keys.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "storage": "file"}))
    with pytest.raises(UsageError, match="in the storage file") as caught:
        server(tmp_path).up(IMAGE, PORT)
    assert "--new-vault" in caught.value.hint
    assert stored(machine) == {"app": "s3cr3t"}


@pytest.mark.parametrize("text", [None, "{", '{"root_token": "x"}'])
def test_lost_keys_ask_before_anything_is_lost(
    machine: Machine, tmp_path: Path, text: str | None
) -> None:
    server(tmp_path).up(IMAGE, PORT)
    store(machine, app="s3cr3t")
    file = tmp_path / "vault" / "keys.json"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(UsageError) as caught:
        server(tmp_path).up(IMAGE, PORT)
    assert "./lab up --new-vault" in caught.value.hint
    assert stored(machine) == {"app": "s3cr3t"}
    assert server(tmp_path).up(IMAGE, PORT, new_vault=True) == "created, unsealed"


def test_an_interruption_between_initialisation_and_its_keys_is_repaired(
    machine: Machine, tmp_path: Path
) -> None:
    machine.interrupt_after_init = True
    with pytest.raises(KeyboardInterrupt):
        server(tmp_path).up(IMAGE, PORT)
    machine.interrupt_after_init = False
    assert server(tmp_path).up(IMAGE, PORT) == "created, unsealed"
    assert stored(machine) == {}
    assert not (tmp_path / "vault" / "initialising").exists()


def test_a_volume_that_was_removed_by_hand_is_said(machine: Machine, tmp_path: Path) -> None:
    server(tmp_path).up(IMAGE, PORT)
    machine.container = machine.volume = None
    assert server(tmp_path).up(IMAGE, PORT) == "created: its volume was gone, unsealed"


def test_the_learners_token_can_be_revoked_and_comes_back_the_same(
    machine: Machine, tmp_path: Path
) -> None:
    server(tmp_path).up(IMAGE, PORT)
    assert machine.volume
    tokens, learner = machine.volume["tokens"], server(tmp_path).keys.learner_token
    assert tokens[learner] == "learner"
    assert learner != server(tmp_path).token
    del tokens[learner]
    server(tmp_path).up(IMAGE, PORT)
    assert tokens[learner] == "learner"
    machine.volume["sealed"] = True
    server(tmp_path).ensure_learner_token("https://127.0.0.1:1")


def test_the_learners_token_is_masked_where_nobody_registered_it() -> None:
    token = "lab-token-" + "0123456789abcdef" * 2
    assert token not in redact(f"VAULT_TOKEN={token}")
