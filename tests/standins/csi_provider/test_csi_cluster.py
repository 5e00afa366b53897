"""What the provider asks of the Kubernetes API, against a small API server over HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import certifi
import pytest
from aiohttp import web

from standins.common.kube import Access, Kube, NoAccount, in_cluster
from standins.csi_provider.cluster import Cluster, NoKey
from standins.csi_provider.errors import MountError
from standins.csi_provider.parameters import Pod

POD = Pod("web", "uid-1", "demo", "app")
NAME = "vault-csi-provider-hmac-key"


class FakeApi:
    """Secrets of one namespace and the token endpoint, with Kubernetes' status bodies."""

    def __init__(self, folder: Path) -> None:
        self.token_file = folder / "token"
        self.secrets: dict[str, dict[str, Any]] = {}
        self.tokens: list[tuple[str, dict[str, Any]]] = []
        self.accounts = {"app"}
        self.down = 0
        self.page: web.Response | None = None
        self.race: dict[str, Any] | None = None

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Cluster]:
        """The provider's view of this API server."""
        app = web.Application()
        secrets = "/api/v1/namespaces/csi/secrets"
        app.router.add_get(secrets + "/{name}", self._get)
        app.router.add_post(secrets, self._create)
        app.router.add_post("/api/v1/namespaces/{ns}/serviceaccounts/{name}/token", self._token)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.token_file.write_text("own-token", encoding="ascii")
        try:
            access = Access(server, token_file=self.token_file, namespace="csi")
            async with Kube(access) as kube:
                yield Cluster(kube, NAME)
        finally:
            await runner.cleanup()

    async def _get(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer own-token"
        name = request.match_info["name"]
        if self.page:
            return self.page
        if self.down:
            return _status(self.down, "InternalError", "etcd is away")
        if name not in self.secrets:
            return _status(404, "NotFound", f'secrets "{name}" not found')
        return web.json_response(self.secrets[name])

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = body["metadata"]["name"]
        if self.race:
            self.secrets[name] = self.race
        if name in self.secrets:
            return _status(409, "AlreadyExists", f'secrets "{name}" already exists')
        self.secrets[name] = body
        return web.json_response(body, status=201)

    async def _token(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.accounts:
            return _status(404, "NotFound", f'serviceaccounts "{name}" not found')
        body = await request.json()
        self.tokens.append((f"{request.match_info['ns']}/{name}", body["spec"]))
        status = {"token": "made", "expirationTimestamp": "2030-01-01T00:00:00Z"}
        return web.json_response({**body, "status": status}, status=201)


def _status(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "reason": reason, "message": message}
    return web.json_response({**body, "code": code}, status=code)


def stored(key: str) -> dict[str, Any]:
    """A key Secret as the API server has it."""
    return {"metadata": {"name": NAME}, "data": {"key": key} if key else {}}


@pytest.fixture
def api(tmp_path: Path) -> FakeApi:
    """An API server with one account and no Secret."""
    return FakeApi(tmp_path)


def play(api: FakeApi, scenario: Callable[[Cluster], Awaitable[None]]) -> None:
    """Run one scenario in an event loop of its own."""

    async def run() -> None:
        async with api.served() as cluster:
            await scenario(cluster)

    asyncio.run(run())


@pytest.mark.parametrize(("audience", "audiences"), [("vault", ["vault"]), ("", [])])
def test_a_token_is_bound_to_the_pod_for_a_quarter_of_an_hour(
    api: FakeApi, audience: str, audiences: list[str]
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
        (Pod("web", "u", "demo", "ghost"), 'serviceaccounts "ghost" not found'),
        (Pod("web", "u", "demo", ""), "a ServiceAccount without a name"),
    ],
)
def test_a_refused_token_names_pod_and_reason(api: FakeApi, pod: Pod, reason: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        with pytest.raises(MountError) as caught:
            await cluster.pod_token(pod, "")
        assert str(caught.value) == (
            f"failed to create a service account token for requesting pod {pod}: {reason}"
        )

    play(api, scenario)


def test_the_first_provider_makes_an_immutable_key_and_all_use_it(api: FakeApi) -> None:
    async def scenario(cluster: Cluster) -> None:
        keys = await asyncio.gather(*(cluster.hmac_key() for _ in range(20)))
        assert len(set(keys)) == 1
        assert len(keys[0]) == 32
        made = api.secrets[NAME]
        assert made["immutable"] is True
        assert base64.b64decode(made["data"]["key"]) == keys[0]
        # Deleted, it is replaced by another at the next mount.
        api.secrets.clear()
        assert await cluster.hmac_key() not in keys

    play(api, scenario)


def test_the_loser_of_the_race_takes_the_winners_key(api: FakeApi) -> None:
    api.race = stored(base64.b64encode(b"winner").decode())

    async def scenario(cluster: Cluster) -> None:
        assert await cluster.hmac_key() == b"winner"

    play(api, scenario)


@pytest.mark.parametrize("key", ["", "not base64!"])
def test_a_key_secret_without_a_key_says_what_to_do(api: FakeApi, key: str) -> None:
    api.secrets[NAME] = stored(key)

    async def scenario(cluster: Cluster) -> None:
        with pytest.raises(NoKey, match="delete it and it is made again"):
            await cluster.hmac_key()

    play(api, scenario)


@pytest.mark.parametrize("status", [403, 500])
def test_an_api_server_that_refuses_means_no_key(api: FakeApi, status: int) -> None:
    api.down = status

    async def scenario(cluster: Cluster) -> None:
        with pytest.raises(NoKey, match="etcd is away"):
            await cluster.hmac_key()

    play(api, scenario)


def test_an_api_server_that_is_gone_means_no_key_and_no_token() -> None:
    async def scenario() -> None:
        async with Kube(Access("http://127.0.0.1:1")) as client:
            cluster = Cluster(client, NAME)
            with pytest.raises(NoKey, match="ClientConnectorError"):
                await cluster.hmac_key()
            with pytest.raises(MountError, match="ClientConnectorError"):
                await cluster.pod_token(POD, "vault")

    asyncio.run(scenario())


def test_a_pods_access_is_found(tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(NoAccount, match="not in a pod: KUBERNETES_SERVICE_HOST is not set"):
        in_cluster({}, tmp_path)
    with pytest.raises(NoAccount, match="not in a pod with a service account"):
        in_cluster(environment, tmp_path)
    (tmp_path / "namespace").write_text("csi\n", encoding="ascii")
    (tmp_path / "ca.crt").write_bytes(Path(certifi.where()).read_bytes())
    access = in_cluster(environment, tmp_path)
    assert (access.server, access.namespace) == ("https://[fd00::1]:443", "csi")
    assert access.tls is not None
    assert access.token_file == tmp_path / "token"


def test_an_answer_that_is_no_json_is_still_an_answer(api: FakeApi) -> None:
    async def scenario(cluster: Cluster) -> None:
        with pytest.raises(NoKey, match="the API server answered 502 Bad Gateway"):
            await cluster.hmac_key()

    api.page = web.Response(text="<html>", status=502)
    play(api, scenario)
