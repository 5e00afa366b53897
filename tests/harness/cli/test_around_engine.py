"""What `lab doctor` sees around the engine: one line each, with the command that mends it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.base import labels, proxies
from harness.cli import around_engine
from harness.cli.findings import Finding
from harness.supply.engine import contexts, engine, limits
from harness.supply.engine.capabilities import Engine
from tests.fakes import engine as fake_engine

Listen = Callable[[dict[str, Any]], None]
ENGINE = Engine("unix:///e.sock", "28.5.2", (1, 51), "2", "overlay2", Path("/"), None, False)
NO_PROXIES = [name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
              for name in (upper, upper.lower())]  # fmt: skip


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NO_PROXIES, "DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(contexts, "_settled", None)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))


@pytest.fixture
def listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listen]:
    servers = []

    def start(answers: dict[str, Any]) -> None:
        everything = {"/version": fake_engine.DOCKER, "/info": fake_engine.INFO} | answers
        server = fake_engine.listening(tmp_path / "engine.sock", everything)
        monkeypatch.setenv("DOCKER_HOST", server.__enter__())
        servers.append(server)

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def only(found: Iterator[Finding]) -> Finding:
    (finding,) = found
    return finding


def test_the_context_is_named_and_a_contradiction_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert only(around_engine.context()).seen.startswith("the default socket: unix:///var/run")
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "colima"}), "utf-8")
    monkeypatch.setenv("DOCKER_HOST", "unix:///other.sock")
    finding = only(around_engine.context())
    assert finding.level == "note"
    assert "the docker context colima is not used" in finding.seen
    assert finding.help == "unset DOCKER_HOST"


@pytest.mark.parametrize("store", [True, False])
def test_the_image_store_is_named(store: bool) -> None:
    found = dataclasses.replace(ENGINE, containerd_store=store)
    assert only(around_engine.image_store(found)).seen.startswith(
        "containerd's" if store else "the engine's own (overlay2)"
    )


def test_a_proxy_that_is_dead_is_said_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert only(around_engine.proxy(ENGINE)).seen == "none"
    monkeypatch.setenv("HTTPS_PROXY", "http://me:made-up-word@127.0.0.1:9")
    finding = only(around_engine.proxy(ENGINE))
    assert finding.level == "note"
    assert "127.0.0.1:9 does not answer" in finding.seen
    assert finding.help == "unset HTTPS_PROXY https_proxy"
    assert "made-up-word" not in str(finding)


def test_a_proxy_on_the_loopback_is_of_no_use_to_containers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(around_engine, "_answers", lambda *_: True)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:3128")
    assert "containers cannot reach" in only(around_engine.proxy(ENGINE)).seen


def test_an_engine_without_the_shells_proxy_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(around_engine, "_answers", lambda *_: True)
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    levels = [finding.level for finding in around_engine.proxy(ENGINE)]
    assert levels == ["good", "note"]
    with_one = dataclasses.replace(ENGINE, has_proxy=True)
    assert [finding.level for finding in around_engine.proxy(with_one)] == ["good"]
    assert proxies.settings() == {"HTTPS_PROXY": "proxy.example:3128"}


@pytest.mark.parametrize(
    ("room", "options", "level"),
    [
        (1500, {}, "good"),
        (1400, {}, "note"),
        (1400, {engine.MTU_OPTION: "1400"}, "good"),
        (1300, {engine.MTU_OPTION: "1400"}, "note"),
    ],
)
def test_packets_that_do_not_fit_are_a_note(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, room: int, options: dict[str, str], level: str
) -> None:
    listen({"/networks/bridge": {"Id": "b", "Options": options}})
    monkeypatch.setattr(limits, "way_out", lambda: ("tun0", room))
    finding = only(around_engine.mtu())
    assert finding.level == level
    assert (f'"mtu": {room}' in finding.help) == (level == "note")


def test_without_a_way_out_nothing_is_said_of_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "way_out", lambda: None)
    assert list(around_engine.mtu()) == []


@pytest.mark.parametrize(("ahead", "level"), [(0.4, "good"), (-61.0, "note"), (7.0, "note")])
def test_a_clock_that_differs_is_a_note(ahead: float, level: str) -> None:
    finding = only(around_engine.clock(dataclasses.replace(ENGINE, clock=ahead)))
    assert finding.level == level
    assert ("timedatectl" in finding.help) == (level == "note")


def test_environments_of_others_are_named_with_the_way_to_remove_them(
    listen: Listen, tmp_path: Path
) -> None:
    mine, theirs = ({labels.ENVIRONMENT_LABEL: name} for name in ("lab", "old"))
    node = {labels.KIND_LABEL: "kvl-old"}
    somebodys = {labels.KIND_LABEL: "kind"}
    listed = [{"Id": str(i), "Labels": one} for i, one in enumerate((mine, theirs, somebodys))]
    listen({"/containers/json": [*listed, {"Id": "9", "Labels": node}]})
    (tmp_path / "state" / "lab").mkdir(parents=True)
    (tmp_path / "state" / "lab" / "environment.json").write_text("{}", encoding="utf-8")
    finding = only(around_engine.leftovers())
    assert finding.level == "note"
    assert finding.seen.startswith("old: ")
    assert "./lab down --env old" in finding.help
    assert "label=kube-vault-labs/environment=old" in finding.help
    assert "kind" not in finding.seen


def test_nothing_left_over_is_good(listen: Listen) -> None:
    listen({"/containers/json": []})
    assert only(around_engine.leftovers()) == Finding("good", "environments", "none")
