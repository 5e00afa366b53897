"""Which engine: DOCKER_HOST, a docker context, the default socket; and everybody's the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from docker.context.config import get_context_id

from harness.base.errors import EnvironmentLacks
from harness.supply.engine import contexts, engine
from tests.fakes import engine as fake_engine

VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")
Use = Callable[..., None]


@pytest.fixture(autouse=True)
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's docker configuration, in a folder of the test."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(contexts, "_settled", None)
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


@pytest.fixture
def use(person: Path) -> Use:
    """Write what `docker context create` and `docker context use` write (Docker 28)."""

    def make(name: str, host: str, certificates: Sequence[str] = ()) -> None:
        (person / "config.json").write_text(json.dumps({"currentContext": name}), "utf-8")
        endpoint = {"Host": host, "SkipTLSVerify": False}
        meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
        folder = person / "contexts" / "meta" / get_context_id(name)
        folder.mkdir(parents=True)
        (folder / "meta.json").write_text(json.dumps(meta), "utf-8")
        for file in certificates:
            tls = person / "contexts" / "tls" / get_context_id(name) / "docker"
            tls.mkdir(parents=True, exist_ok=True)
            (tls / file).write_text("made up", encoding="ascii")

    return make


def test_without_anything_it_is_the_default_socket() -> None:
    assert contexts.current() == contexts.Endpoint("unix:///var/run/docker.sock")
    contexts.settle()
    assert "DOCKER_HOST" not in os.environ


def test_docker_host_comes_before_a_context(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    use("colima", "unix:///home/me/.colima/docker.sock")
    monkeypatch.setenv("DOCKER_HOST", "unix:///other.sock")
    assert contexts.current() == contexts.Endpoint("unix:///other.sock", "DOCKER_HOST")


def test_the_current_context_is_followed_by_all(use: Use, tmp_path: Path) -> None:
    """The SDK, and through DOCKER_HOST each child: docker, kind, testcontainers."""
    socket = tmp_path / "engine.sock"
    with fake_engine.listening(
        socket, {"/version": fake_engine.DOCKER, "/info": fake_engine.INFO}
    ) as host:
        use("colima", host)
        found = engine.find()
        assert found is not None
        assert found.address == host
        contexts.settle()
        assert os.environ["DOCKER_HOST"] == host
        assert engine.find() == found or engine.address() == host
    assert contexts.current().source == "docker context colima", "errors still name the context"


def test_the_variable_comes_before_the_configured_context(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("desktop", "unix:///desktop.sock")
    use("rancher", "unix:///rancher.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "desktop")
    assert contexts.current().host == "unix:///desktop.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert contexts.current().host == "unix:///var/run/docker.sock"


@pytest.mark.parametrize("damage", ["absent", "broken"])
def test_a_context_that_is_not_there_is_one_sentence(
    use: Use, person: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    if damage == "absent":
        monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    else:
        use("gone", "unix:///gone.sock")
        meta = person / "contexts" / "meta" / get_context_id("gone") / "meta.json"
        meta.write_text("{", encoding="utf-8")
    with pytest.raises(EnvironmentLacks, match="docker context gone") as caught:
        engine.find()
    assert "docker context use default" in caught.value.hint
    contexts.settle()
    assert "DOCKER_HOST" not in os.environ


def test_an_engine_elsewhere_is_refused_by_its_contexts_name(use: Use) -> None:
    use("build-server", "ssh://me@192.0.2.7")
    with pytest.raises(EnvironmentLacks, match="not one that the labs can use") as caught:
        engine.find()
    assert caught.value.where == "docker context build-server"


def test_a_contexts_certificates_are_handed_on(use: Use) -> None:
    files = ("ca.pem", "cert.pem", "key.pem")
    use("tls", "tcp://127.0.0.1:2376", files)
    variables = contexts.current().variables
    assert variables["DOCKER_HOST"] == "tcp://127.0.0.1:2376"
    assert variables["DOCKER_TLS_VERIFY"] == "1"
    folder = Path(variables["DOCKER_CERT_PATH"])
    assert sorted(file.name for file in folder.iterdir()) == sorted(files)


NAMED = {"httpProxy": "http://proxy.example:3128", "noProxy": ".corp.example"}


def test_the_nodes_proxies_are_those_that_docker_run_gives_them(
    person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its own names in NO_PROXY a node cannot reach its own API server."""
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        for name in (upper, upper.lower()):
            monkeypatch.delenv(name, raising=False)
    assert contexts.proxies_of_nodes() == {}
    settings = {"proxies": {"default": NAMED, "unix:///other.sock": {"httpsProxy": "x:1"}}}
    (person / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    told = contexts.proxies_of_nodes()
    assert told["HTTP_PROXY"] == "http://proxy.example:3128"
    assert "HTTPS_PROXY" not in told
    assert told["NO_PROXY"].startswith(".corp.example,localhost,127.0.0.1")
    monkeypatch.setenv("DOCKER_HOST", "unix:///other.sock")
    assert contexts.proxies_of_nodes()["HTTPS_PROXY"] == "x:1"
    monkeypatch.setenv("https_proxy", "http://shell.example:1")
    assert contexts.proxies_of_nodes() == {}, "kind reads the shell's by itself"
