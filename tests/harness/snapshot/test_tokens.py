"""Finding a lab's tokens: none is looked up in the gap in which Vault would revoke it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.snapshot import take as inventory
from harness.snapshot import tokens
from harness.snapshot.copies import SecretCopies
from harness.snapshot.tokens import Tokens, owns_token
from harness.snapshot.vault import VaultState
from tests.fakes.lab import World, make_world
from tests.fakes.vault import FakeVault
from tests.fakes.vault_answers import Answer

LOOK_UP = "POST auth/token/lookup-accessor"
MADE = {"policies": ["lab01-app"], "path": "auth/token/create"}
FOREIGN = {"policies": ["default"], "path": "auth/other/login"}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(tokens, "BIRTH_SECONDS", 0.1)
    monkeypatch.setattr(tokens, "EVERY", 0.001)
    return make_world(tmp_path, monkeypatch)


def taken(world: World) -> set[str]:
    return {item.path.rpartition("/")[2] for item in inventory.take(world.lab()).items.values()}


def finder(vault: FakeVault) -> Tokens:
    """What finds lab 01's tokens, as one object that serves many looks."""
    client: Any = vault
    return Tokens(VaultState(client, "lab01", SecretCopies(client, "key", "lab01")))


def found(finder: Tokens) -> list[str]:
    return [item.name for one in finder.accessors() for item in finder.look_up(one)]


def test_without_a_lease_that_may_be_the_labs_nothing_is_looked_up(world: World) -> None:
    world.vault.tokens["theirs"] = FOREIGN
    assert taken(world) == set()
    assert LOOK_UP not in world.vault.calls


@pytest.mark.parametrize(
    "path", ["auth/lab01-jwt/login", "auth/token/create", "auth/token/create/r"]
)
def test_a_lease_of_a_token_leads_to_the_token(world: World, path: str) -> None:
    world.vault.tokens["ours"] = {"policies": ["lab01-app"], "path": path}
    assert taken(world) == {"ours"}


class Login:
    """A Vault in which somebody's login is half done: its token's lease comes a little later."""

    def __init__(self, vault: FakeVault, looks: int) -> None:
        self.vault, self.looks = vault, looks
        vault.tokens |= {"ours": MADE, "newborn": FOREIGN}
        vault.unleased = {"newborn"}
        vault.running = {"login": {"request_path": "/v1/auth/other/login"}}
        self._answer = vault.request
        vault.request = self.request  # type: ignore[method-assign] # it only looks on

    def request(self, method: str, path: str, **options: Any) -> Answer:
        if path == "/v1/sys/in-flight-req":
            self.looks -= 1
            if self.looks < 0:
                self.vault.unleased.clear()
                self.vault.running = {}
        return self._answer(method, path, **options)


def test_a_login_that_is_half_done_is_not_broken(world: World) -> None:
    Login(world.vault, looks=3)
    assert taken(world) == {"ours"}
    assert set(world.vault.tokens) == {"ours", "newborn"}


def test_a_request_that_waits_for_another_server_holds_nobody_up_for_ever(world: World) -> None:
    world.vault.tokens["ours"] = MADE
    world.vault.running = {"slow": {"request_path": "/v1/auth/lab01-kubernetes/login"}}
    assert taken(world) == {"ours"}


def test_a_vault_that_does_not_name_its_requests_gets_time(world: World) -> None:
    world.vault.tokens["ours"] = MADE
    world.vault.running = None
    assert taken(world) == {"ours"}


def test_a_foreign_token_is_looked_up_once(world: World) -> None:
    world.vault.tokens |= {"ours": MADE, "theirs": FOREIGN}
    lab = finder(world.vault)
    assert found(lab) == found(lab) == ["auth/token/create"]
    assert world.vault.calls.count(LOOK_UP) == 3


def test_a_token_of_an_entity_may_become_the_labs_later(world: World) -> None:
    world.vault.tokens |= {"ours": MADE, "theirs": {**FOREIGN, "entity_id": "e"}}
    lab = finder(world.vault)
    assert found(lab) == ["auth/token/create"]
    world.vault.tokens["theirs"]["identity_policies"] = ["lab01-app"]
    assert sorted(found(lab)) == ["auth/other/login", "auth/token/create"]


def test_requests_are_waited_for_only_when_an_accessor_is_new(world: World) -> None:
    world.vault.tokens["ours"] = MADE
    lab = finder(world.vault)
    found(lab)
    world.vault.calls.clear()
    found(lab)
    assert "GET sys/in-flight-req" not in world.vault.calls


@pytest.mark.parametrize(
    ("entry", "ours"),
    [
        ({"policies": ["default", "lab01-app"], "path": "auth/token/create"}, True),
        ({"policies": ["default"], "path": "auth/lab01-jwt/login"}, True),
        ({"policies": ["default"], "identity_policies": ["lab01-app"]}, True),
        ({"policies": ["response-wrapping"], "path": "lab01-kv/data/app"}, True),
        ({"policies": ["default"], "path": "auth/token/create"}, False),
        ({"policies": ["lab02-app"], "path": "auth/lab02-jwt/login"}, False),
        ({"policies": ["root"], "path": "auth/lab01-jwt/login"}, False),
        ({}, False),
    ],
)
def test_tokens_belong_to_a_lab_by_policy_or_login(entry: dict[str, object], ours: bool) -> None:
    assert owns_token(entry, "lab01-") is ours
