"""What the provider asks of the Kubernetes API: pods' tokens and the key of object versions."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from standins.common.account import Access
from standins.common.kube import Kube
from standins.csi_provider.cluster import Cluster, NoKey
from standins.csi_provider.errors import MountError
from standins.csi_provider.parameters import Pod
from tests.fakes.kube import MemoryKube

POD = Pod("web", "uid-1", "demo", "app")
NAME = "vault-csi-provider-hmac-key"
WHERE = ("Secret", "csi", NAME)


class ApiServer(MemoryKube):
    """A cluster with one account; remembers the tokens that it was asked for."""

    def __init__(self) -> None:
        super().__init__(namespace="csi")
        self.tokens: list[tuple[str, dict[str, Any]]] = []
        self.add("ServiceAccount", "demo", {"metadata": {"name": "app"}})

    def token(self, namespace: str, name: str, request: dict[str, Any]) -> str:
        """A token, written down."""
        self.tokens.append((f"{namespace}/{name}", request["spec"]))
        return "made"


def stored(key: str) -> dict[str, Any]:
    """A key Secret as the API server has it."""
    return {"metadata": {"name": NAME}, "data": {"key": key} if key else {}}


@pytest.fixture
def api() -> ApiServer:
    """An API server with one account and no Secret."""
    return ApiServer()


def play(api: ApiServer, scenario: Callable[[Cluster], Coroutine[Any, Any, None]]) -> None:
    """Run one scenario in an event loop of its own."""
    asyncio.run(scenario(Cluster(api, NAME)))


@pytest.mark.parametrize(("audience", "audiences"), [("vault", ["vault"]), ("", [])])
def test_a_token_is_bound_to_the_pod_for_a_quarter_of_an_hour(
    api: ApiServer, audience: str, audiences: list[str]
) -> None:
    async def scenario(cluster: Cluster) -> None:
        assert await cluster.pod_token(POD, audience) == "made"

    play(api, scenario)
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "uid-1"}
    spec = {"audiences": audiences, "expirationSeconds": 900, "boundObjectRef": bound}
    assert api.tokens == [("demo/app", spec)]


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (Pod("web", "u", "demo", "ghost"), 'ServiceAccount "ghost" not found'),
        (Pod("web", "u", "demo", ""), "a ServiceAccount without a name"),
    ],
)
def test_a_refused_token_names_pod_and_reason(api: ApiServer, pod: Pod, reason: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        with pytest.raises(MountError) as caught:
            await cluster.pod_token(pod, "")
        assert str(caught.value) == (
            f"failed to create a service account token for requesting pod {pod}: {reason}"
        )

    play(api, scenario)


def test_the_first_provider_makes_an_immutable_key_and_all_use_it(api: ApiServer) -> None:
    async def scenario(cluster: Cluster) -> None:
        keys = await asyncio.gather(*(cluster.hmac_key() for _ in range(20)))
        assert len(set(keys)) == 1
        assert len(keys[0]) == 32
        made = api.objects[WHERE]
        assert made["immutable"] is True
        assert base64.b64decode(made["data"]["key"]) == keys[0]
        # Deleted, it is replaced by another at the next mount.
        api.remove(*WHERE)
        assert await cluster.hmac_key() not in keys

    play(api, scenario)


def test_the_loser_of_the_race_takes_the_winners_key(api: ApiServer) -> None:
    def win(verb: str, kind: str, name: str) -> None:
        api.before_write = lambda *_: None
        api.add("Secret", "csi", stored(base64.b64encode(b"winner").decode()))

    async def scenario(cluster: Cluster) -> None:
        api.before_write = win
        assert await cluster.hmac_key() == b"winner"

    play(api, scenario)


@pytest.mark.parametrize("key", ["", "not base64!"])
def test_a_key_secret_without_a_key_says_what_to_do(api: ApiServer, key: str) -> None:
    api.add("Secret", "csi", stored(key))

    async def scenario(cluster: Cluster) -> None:
        with pytest.raises(NoKey, match="delete it and it is made again"):
            await cluster.hmac_key()

    play(api, scenario)


@pytest.mark.parametrize("status", [403, 500])
def test_an_api_server_that_refuses_means_no_key(api: ApiServer, status: int) -> None:
    api.failures["get", "Secret"] = (status, "etcd is away")

    async def scenario(cluster: Cluster) -> None:
        with pytest.raises(NoKey, match="etcd is away"):
            await cluster.hmac_key()

    play(api, scenario)


def test_an_api_server_that_is_gone_means_no_key_and_no_token() -> None:
    async def scenario() -> None:
        async with Kube(Access("http://127.0.0.1:1")) as kube:
            cluster = Cluster(kube, NAME)
            with pytest.raises(NoKey, match="ClientConnectorError"):
                await cluster.hmac_key()
            with pytest.raises(MountError, match="ClientConnectorError"):
                await cluster.pod_token(POD, "vault")

    asyncio.run(scenario())
