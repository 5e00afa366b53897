"""Proxies of the environment: what goes through one, what never does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import requests
from kubernetes import client

from harness.base import proxies
from harness.clients.kube_objects import ObjectVerbs

NAMES = [name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
         for name in (upper, upper.lower())]  # fmt: skip
DEAD = "http://127.0.0.1:9"
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: lab
contexts: [{name: lab, context: {cluster: lab, user: lab}}]
clusters: [{name: lab, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: lab, user: {}}]
"""


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        # Set first, so that what the code under test writes is undone as well.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def through_proxy(url: str) -> str | None:
    """The proxy that `requests` would send this request through."""
    with requests.Session() as session:
        sent = session.merge_environment_settings(url, {}, None, None, None)["proxies"]
    return requests.utils.select_proxy(url, sent)


def test_without_a_proxy_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.com")
    proxies.complete()
    assert os.environ["NO_PROXY"] == "example.com"
    assert "no_proxy" not in os.environ
    assert proxies.exceptions() == {}
    assert proxies.for_containers() == {}


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_this_machine_is_reached_directly(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, DEAD)
    assert through_proxy("https://127.0.0.1:8200/v1/sys/health") == DEAD
    proxies.complete()
    for host in ("127.0.0.1:8200", "localhost:8200", "[::1]:8200", "vault.vault.svc:8200"):
        assert not through_proxy(f"https://{host}/"), host
    assert through_proxy("https://registry.example/v2/") == DEAD


def test_a_persons_exceptions_stay_in_both_spellings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "intranet.example, 127.0.0.1")
    monkeypatch.setenv("no_proxy", ".corp.example")
    proxies.complete()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"]
    listed = os.environ["NO_PROXY"].split(",")
    assert listed[:3] == ["intranet.example", "127.0.0.1", ".corp.example"]
    assert len(listed) == len(set(listed))
    assert set(proxies.DIRECT) <= set(listed)
    proxies.complete()
    assert os.environ["NO_PROXY"].split(",") == listed, "completing twice adds nothing"
    assert proxies.exceptions()["NO_PROXY"] == os.environ["NO_PROXY"]


def test_everything_excepted_stays_everything() -> None:
    assert proxies.completed("a.example, *") == "*"


def test_a_container_does_not_get_a_proxy_of_this_hosts_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    assert proxies.for_containers() == {}
    monkeypatch.setenv("HTTP_PROXY", "proxy.example:3128")
    assert proxies.for_containers() == {
        "HTTP_PROXY": "proxy.example:3128",
        "NO_PROXY": ",".join(proxies.DIRECT),
    }


def test_the_kubernetes_client_takes_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once answered ProxyError, beside a Vault client that went straight."""
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    (tmp_path / "kubeconfig").write_text(KUBECONFIG, encoding="utf-8")
    assert client.Configuration(host="https://127.0.0.1:6443").proxy == DEAD
    api = ObjectVerbs(tmp_path / "kubeconfig").api
    assert api.configuration.host == "https://127.0.0.1:6443"
    assert api.configuration.proxy is None
    assert api.rest_client.pool_manager.proxy is None
