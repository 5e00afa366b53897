"""The calls to the Kubernetes API, against a small API server over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from standins.injector.certificates import Authority
from standins.injector.election import Election
from standins.injector.keeper import AutoKeeper
from standins.injector.kube import ClusterError, Conflict, KubeCluster
from tests.standins.injector.support import apply_patch

CONFIG = "vault-agent-injector-cfg"
CONFIGS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
SECRETS = "/api/v1/namespaces/vi/secrets"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/vi/leases"


class ApiServer:
    """Objects by path; versions, conflicts and errors as Kubernetes answers them."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.fault: tuple[int, str] | None = None
        self._version = 0
        self.put(
            f"{CONFIGS}/{CONFIG}",
            {
                "webhooks": [
                    {"name": "vault.hashicorp.com", "clientConfig": {"service": {"name": "s"}}},
                    {"name": "second", "clientConfig": {"caBundle": "Cg=="}},
                ]
            },
        )

    def put(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        """Store an object under a new version."""
        self._version += 1
        metadata = content.get("metadata", {}) | {"resourceVersion": str(self._version)}
        self.objects[path] = content | {"metadata": metadata}
        return self.objects[path]

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one call."""
        kind = request.headers.get("Content-Type", "")
        self.calls.append((request.method, request.path, kind))
        if self.fault:
            return web.Response(status=self.fault[0], text=self.fault[1])
        body: Any = await request.json() if request.method != "GET" else None
        found = self.objects.get(request.path)
        if request.method == "POST":
            path = f"{request.path}/{body['metadata']['name']}"
            if path in self.objects:
                return self._status(409, "already exists")
            return web.json_response(self.put(path, body), status=201)
        if found is None:
            return self._status(404, "not found")
        if request.method == "PUT":
            if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
                return self._status(409, "the object has been modified")
            return web.json_response(self.put(request.path, body))
        if request.method == "PATCH":
            test, *rest = body
            assert test["path"] == "/metadata/resourceVersion"
            if test["value"] != found["metadata"]["resourceVersion"]:
                return self._status(422, "the server rejected our request")
            return web.json_response(self.put(request.path, apply_patch(found, rest)))
        return web.json_response(found)

    def _status(self, code: int, message: str) -> web.Response:
        return web.json_response({"kind": "Status", "message": message}, status=code)


@asynccontextmanager
async def serving(server: ApiServer) -> AsyncIterator[KubeCluster]:
    """A KubeCluster that talks to `server`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        async with ApiClient(configuration) as api:
            yield KubeCluster(api, "vi")
    finally:
        await runner.cleanup()


def against(
    check: Callable[[KubeCluster], Awaitable[None]], server: ApiServer | None = None
) -> ApiServer:
    """Run `check` against an API server and give the server back."""
    server = server or ApiServer()

    async def run() -> None:
        async with serving(server) as cluster:
            await check(cluster)

    asyncio.run(run())
    return server


def test_bundle_goes_into_every_webhook() -> None:
    async def check(cluster: KubeCluster) -> None:
        seen = await cluster.webhooks(CONFIG)
        assert seen
        assert seen.names == ("vault.hashicorp.com", "second")
        assert seen.bundles == (b"", b"\n")
        await cluster.publish(CONFIG, seen, b"PEM")
        with pytest.raises(Conflict):
            await cluster.publish(CONFIG, seen, b"OTHER")
        again = await cluster.webhooks(CONFIG)
        assert again
        assert again.bundles == (b"PEM", b"PEM")
        assert await cluster.webhooks("none") is None
        with pytest.raises(Conflict, match="gone"):
            await cluster.publish("none", seen, b"PEM")

    server = against(check)
    stored = server.objects[f"{CONFIGS}/{CONFIG}"]["webhooks"][0]["clientConfig"]
    assert stored == {"service": {"name": "s"}, "caBundle": base64.b64encode(b"PEM").decode()}
    assert ("PATCH", f"{CONFIGS}/{CONFIG}", "application/json-patch+json") in server.calls


def test_pair_is_shared_through_the_secret() -> None:
    pair, other = (Authority().issue(["a"]) for _ in range(2))

    async def check(cluster: KubeCluster) -> None:
        assert await cluster.shared_pair() is None
        await cluster.share(pair, None)
        with pytest.raises(Conflict):
            await cluster.share(other, None)
        seen = await cluster.shared_pair()
        assert seen
        assert seen.pair == pair
        await cluster.share(other, seen)
        with pytest.raises(Conflict):
            await cluster.share(pair, seen)

    server = against(check)
    stored = server.objects[f"{SECRETS}/vault-injector-certs"]
    assert set(stored["data"]) == {"cert", "key"}
    assert stored["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "kube-vault-labs"}


@pytest.mark.parametrize("data", [None, {}, {"cert": "%", "key": 5}, {"cert": "QQ==", "key": ""}])
def test_secret_without_a_usable_pair(data: Any) -> None:
    server = ApiServer()
    server.put(f"{SECRETS}/vault-injector-certs", {"data": data})

    async def check(cluster: KubeCluster) -> None:
        found = await cluster.shared_pair()
        assert found
        assert found.pair is None

    against(check, server)


def test_lease_changes_hands() -> None:
    async def check(cluster: KubeCluster) -> None:
        one, two = Election(cluster, "one"), Election(cluster, "two")
        assert await one.take_part()
        assert not await two.take_part()
        assert await one.take_part()
        await one.resign()
        assert not one.leading
        assert await two.take_part()
        assert not await one.take_part()

    server = against(check)
    spec = server.objects[f"{LEASES}/vault-k8s-leader"]["spec"]
    assert spec["holderIdentity"] == "two"
    assert spec["leaseDurationSeconds"] == 15
    assert spec["leaseTransitions"] == 2
    assert spec["renewTime"].endswith("Z")


def test_keeper_over_http() -> None:
    async def check(cluster: KubeCluster) -> None:
        keepers = [
            AutoKeeper(cluster, ["a"], webhook=CONFIG, election=Election(cluster, name), settle=0)
            for name in ("one", "two")
        ]
        pairs = [await keeper.round() for keeper in keepers]
        assert pairs[0]
        assert pairs[0] == pairs[1]
        await keepers[0].end()
        taken_over = await keepers[1].round()
        assert taken_over
        assert taken_over != pairs[0]

    against(check)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ((403, '{"message": "no right"}'), "403 no right"),
        ((500, "<html>"), "500 <html>"),
        ((200, "<html>"), "is not JSON"),
        ((429, ""), "429"),
    ],
    ids=["forbidden", "broken", "not JSON", "too many"],
)
def test_error_says_what_was_called(fault: tuple[int, str], message: str) -> None:
    server = ApiServer()
    server.fault = fault

    async def check(cluster: KubeCluster) -> None:
        with pytest.raises(ClusterError, match=message) as caught:
            await cluster.lease()
        assert "vault-k8s-leader" in str(caught.value)
        assert not isinstance(caught.value, Conflict)
        assert len(server.calls) == 1
        election = Election(cluster, "me")
        assert not await election.take_part()

    against(check, server)


def test_server_that_is_not_there() -> None:
    async def check() -> None:
        async with ApiClient(Configuration(host="http://127.0.0.1:1")) as api:
            with pytest.raises(ClusterError, match="vault-k8s-leader"):
                await KubeCluster(api, "vi").lease()

    asyncio.run(check())


def test_key_is_in_no_error() -> None:
    server = ApiServer()
    server.fault = (403, '{"message": "denied"}')
    pair = Authority().issue(["a"])

    async def check(cluster: KubeCluster) -> None:
        with pytest.raises(ClusterError) as caught:
            await cluster.share(pair, None)
        assert base64.b64encode(pair.key).decode() not in json.dumps(str(caught.value))

    against(check, server)
