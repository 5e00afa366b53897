"""No value without a key: whatever was done to the configuration, the way back reads everything."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from harness.base.errors import LabError
from harness.controlplane import encryption
from harness.controlplane.apiserver import MANIFEST
from harness.controlplane.change import SERVES, Plugin, Settings
from harness.controlplane.encryption import (
    api_path,
    migrate_to,
    reads,
    resource_of,
    restore_readability,
    survey,
    writer,
    writer_of,
)
from harness.controlplane.settings import ENCRYPTION, dump
from tests.fakes.control_plane import FakePlane, configuration, plane, provider, secret_key

__all__ = ["plane"]

IDENTITY = provider("identity")
ONE, TWO = provider("aescbc", "one"), provider("secretbox", "two")
PLUGIN = Plugin({"metadata": {"name": "kms-plugin"}}, {})


def settings(*providers: dict[str, object]) -> Settings:
    """Settings with these providers for Secrets."""
    return Settings(configuration(*providers))


def test_who_wrote_a_value() -> None:
    assert writer_of(b"k8s\x00\n\x0c\n\x02v1") == ""
    assert writer_of(b'{"kind":"Pod"}') == ""
    assert writer_of(b"k8s:enc:aescbc:v1:key:with:colons") == "aescbc:v1:key"
    assert writer_of(b"k8s:enc:kms:v2:vault:\x0a\xff:") == "kms:v2:vault"
    assert writer_of(b"k8s:enc:broken") == "broken"


def test_who_writes_and_who_reads() -> None:
    two = settings(provider("aescbc", "new", "old"), provider("kms", "vault"), IDENTITY)
    key = "/registry/secrets/a/b"
    assert writer(two, "secrets") == "aescbc:v1:new"
    assert writer(two, "configmaps") == ""
    for wrote in ("aescbc:v1:new", "aescbc:v1:old", "kms:v2:vault", ""):
        assert reads(two, key, wrote)
    assert not reads(two, key, "secretbox:v1:new")
    assert not reads(settings(ONE), key, ""), "without identity plain values cannot be read"
    assert reads(settings(ONE), "/registry/configmaps/a/b", "")
    assert not reads(settings(ONE), "/registry/configmaps/a/b", "aescbc:v1:one")
    everything = Settings(configuration(ONE, resource="*.*"))
    assert writer(everything, "configmaps") == "aescbc:v1:one"


def test_names_of_resources_and_paths() -> None:
    assert resource_of("/registry/secrets/ns/name") == "secrets"
    assert resource_of("/registry/example.com/things/ns/name") == "things.example.com"
    assert api_path("/registry/secrets/ns/name") == "/api/v1/namespaces/ns/secrets/name"
    assert (
        api_path("/registry/example.com/things/ns/name")
        == "/apis/example.com/v1/namespaces/ns/things/name"
    )
    with pytest.raises(LabError, match="cannot rewrite"):
        api_path("/registry/deployments/ns/name")


def test_nothing_to_do_is_nothing_done(plane: FakePlane) -> None:
    assert migrate_to(plane, Settings()) == []
    assert len(plane.node.starts) == 1


def test_back_to_plain_over_transitional_settings(plane: FakePlane) -> None:
    before = plane.create("before")
    plane.use(ONE, IDENTITY)
    keys = [plane.create("app"), plane.create("token", "kube-system")]
    assert migrate_to(plane, Settings()) == [
        "rewrote 2 values in etcd",
        "returned the API server to its plain settings",
    ]
    assert set(survey(plane).values()) == {""}
    assert not plane.node.unreadable()
    assert plane.plain_bytes()
    assert [plane.node.readable(key)["value"] for key in (before, *keys)] == [
        "before",
        "app",
        "token",
    ]


def test_a_key_that_was_dropped_too_early_is_found_again(plane: FakePlane) -> None:
    plane.use(ONE, IDENTITY)
    key = plane.create("app")
    plane.use(TWO, IDENTITY, ready=SERVES)
    assert plane.node.unreadable() == [key]
    migrate_to(plane, Settings())
    assert plane.node.readable(key)["value"] == "app"
    assert plane.plain_bytes()


def test_back_to_earlier_keys_keeps_what_they_read(plane: FakePlane) -> None:
    plane.use(ONE, IDENTITY)
    old = plane.create("old")
    raw = plane.raw(old)
    goal = plane.current()
    plane.use(TWO, ONE, IDENTITY)
    new = plane.create("new")
    migrate_to(plane, goal)
    assert plane.current() == goal
    assert plane.raw(old) == raw, "what the goal reads is not touched"
    assert writer_of(plane.raw(new)) == "aescbc:v1:one"
    assert not plane.node.unreadable()


def test_no_transitional_settings_when_the_present_ones_will_do(plane: FakePlane) -> None:
    plane.use(ONE, IDENTITY)
    plane.create("app")
    plane.use(IDENTITY, ONE)
    starts = len(plane.node.starts)
    migrate_to(plane, Settings())
    assert len(plane.node.starts) == starts + 1
    assert not plane.node.unreadable()


def test_two_keys_of_one_name(plane: FakePlane) -> None:
    plane.use(ONE, IDENTITY)
    first = plane.create("first")
    other = {"aescbc": {"keys": [{"name": "one", "secret": secret_key("another")}]}}
    plane.use(other, IDENTITY, ready=SERVES)
    second = plane.create("second")
    assert plane.node.unreadable() == [first]
    migrate_to(plane, Settings())
    assert [plane.node.readable(key)["value"] for key in (first, second)] == ["first", "second"]


def test_a_file_changed_by_hand_is_rescued_from_the_running_process(plane: FakePlane) -> None:
    """The process still has the key; nobody else does. A restart would lose it."""
    plane.use(ONE, IDENTITY)
    key = plane.create("app")
    plane.memory.forget()
    plane.node.files[ENCRYPTION] = dump(configuration(TWO, IDENTITY))
    assert migrate_to(plane, Settings())
    assert plane.node.readable(key)["value"] == "app"
    assert writer_of(plane.raw(key)) == ""


def test_what_nobody_can_read_is_deleted_where_that_is_allowed(plane: FakePlane) -> None:
    plane.use(ONE, IDENTITY)
    plane.create("app")
    keep = plane.create("other", "team")
    plane.use(TWO, IDENTITY, ready=SERVES)
    plane.memory.forget()
    with pytest.raises(LabError, match="/registry/secrets/team/other"):
        migrate_to(plane, Settings(), discardable_namespaces=["lab00"])
    plane.node.erase(keep)
    migrate_to(plane, Settings(), discardable_namespaces=["lab00"])
    assert plane.node.store == {}
    assert plane.plain_bytes()


def test_kms_is_left_with_its_plugin_and_without_it(plane: FakePlane) -> None:
    plane.use(provider("kms", "vault"), IDENTITY, plugin=PLUGIN)
    key = plane.create("app")
    goal = settings(ONE, IDENTITY)
    migrate_to(plane, goal)
    assert plane.current() == goal
    assert writer_of(plane.raw(key)) == "aescbc:v1:one"
    assert not plane.node.unreadable()


def test_back_to_kms(plane: FakePlane) -> None:
    plane.use(provider("kms", "vault"), IDENTITY, plugin=PLUGIN)
    goal = plane.current()
    plane.apply(Settings())
    plane.create("app")
    migrate_to(plane, goal)
    assert plane.current() == goal
    assert not plane.node.unreadable()


def test_kms_whose_key_is_gone_is_rescued_as_long_as_it_can_be_read(
    plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encryption, "SETTLE_SECONDS", 0.05)
    plane.use(provider("kms", "vault"), IDENTITY, plugin=PLUGIN)
    key = plane.create("app")
    restart = plane.node.exchange

    def lose(files: dict[str, str]) -> None:
        plane.node.vault = False  # what was in memory is gone with the process
        restart(files)

    monkeypatch.setattr(plane.node, "exchange", lose)
    migrate_to(plane, Settings())
    assert plane.node.readable(key)["value"] == "app"
    assert plane.plain_bytes()


def test_an_api_server_that_was_stopped_is_repaired_first(plane: FakePlane) -> None:
    plane.use(ONE, IDENTITY)
    plane.create("app")
    del plane.node.files[MANIFEST]
    plane.node.loaded = None
    assert "put the last good settings of the API server back" in migrate_to(plane, Settings())
    assert plane.plain_bytes()


def test_mending_gives_keys_back_and_changes_nothing_else(plane: FakePlane) -> None:
    assert restore_readability(plane) == ""
    plane.use(ONE, IDENTITY)
    plane.create("app")
    assert restore_readability(plane) == ""
    plane.use(TWO, IDENTITY, ready=SERVES)
    assert restore_readability(plane) == "gave the API server the keys of 1 values back"
    assert plane.health()[0] == 200
    assert writer(plane.current(), "secrets") == "secretbox:v1:two"
    assert restore_readability(plane) == ""


def test_a_configuration_taken_away_in_one_step_is_mended(plane: FakePlane) -> None:
    plane.use(ONE, IDENTITY)
    key = plane.create("app")
    plane.apply(Settings(), ready=SERVES)
    assert plane.node.unreadable() == [key]
    assert restore_readability(plane)
    assert plane.node.readable(key)["value"] == "app"
    assert writer(plane.current(), "secrets") == "", "nobody encrypts what is written from now on"


def test_an_unusable_key_is_no_part_of_transitional_settings(plane: FakePlane) -> None:
    plane.use(ONE, IDENTITY)
    key = plane.create("app")
    short = {"aescbc": {"keys": [{"name": "short", "secret": "c2hvcnQ="}]}}
    with pytest.raises(LabError):
        plane.use(short, ONE, IDENTITY)
    migrate_to(plane, Settings())
    assert plane.node.readable(key)["value"] == "app"


@pytest.mark.parametrize("seed", range(40))
def test_any_history_has_a_way_back(plane: FakePlane, seed: int) -> None:
    """Random changes, with and without care, files changed by hand, an interrupt now and then."""
    dice = random.Random(seed)  # noqa: S311 # a test that can be repeated, no secret
    pool = [ONE, TWO, provider("aesgcm", "three"), provider("aescbc", "four"), IDENTITY]
    expected: dict[str, str] = {}
    for turn in range(8):
        chosen = dice.sample(pool, dice.randint(1, 3))
        what = dice.random()
        if what < 0.6:
            plane.apply(settings(*chosen), ready=SERVES)
        elif what < 0.75:
            plane.apply(Settings(), ready=SERVES)
        elif what < 0.9 and ENCRYPTION in plane.node.files:
            plane.write_encryption(configuration(*chosen))
        else:
            plane.node.interrupt = True
            with pytest.raises(KeyboardInterrupt):
                plane.restart(ready=SERVES)
            plane.repair()
        name = f"app{turn}"
        expected[plane.create(name)] = name
    goal = dice.choice([Settings(), settings(TWO, IDENTITY), settings(*pool)])
    migrate_to(plane, goal)
    assert plane.current() == replace(goal)
    assert not plane.node.unreadable()
    found = {key: plane.node.readable(key)["value"] for key in plane.node.store}
    assert found == expected
