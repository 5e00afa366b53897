"""The client of the Kubernetes API over HTTP: paths, bodies, tokens, refusals, watches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import certifi
import pytest
from aiohttp import web

from standins.common.account import Access, NoAccount, in_cluster
from standins.common.kube import RESOURCES, Kube, KubeError
from tests.fakes.kube import served
from tests.fakes.kubernetes import MemoryCluster

WIDGETS = {"Widget": "/apis/example.test/v1/widgets"}
Scene = Callable[[Kube, MemoryCluster], Awaitable[None]]


def against(scene: Scene, token_file: Path | None = None) -> list[web.Request]:
    """Run `scene` with a client over HTTP; the requests that the server saw."""
    seen: list[web.Request] = []
    cluster = MemoryCluster({**RESOURCES, **WIDGETS})

    async def play() -> None:
        async with served(cluster, seen) as url:
            access = Access(url, token_file=token_file, token="canary")
            async with Kube(access, kinds=WIDGETS) as kube:
                await scene(kube, cluster)

    asyncio.run(play())
    return seen


def answering(answer: web.Response, scene: Callable[[Kube], Awaitable[None]]) -> None:
    """Run `scene` with a client of a server that always answers so."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)

    async def play() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with Kube(Access(f"http://127.0.0.1:{runner.addresses[0][1]}")) as kube:
            await scene(kube)
        await runner.cleanup()

    asyncio.run(play())


def test_an_objects_life() -> None:
    async def scene(kube: Kube, cluster: MemoryCluster) -> None:
        assert await kube.find("Secret", "a", "s") is None
        body = {"metadata": {"name": "s", "labels": {"app": "x"}}, "data": {"k": "djE="}}
        made = await kube.create("Secret", "a", body)
        assert (made["apiVersion"], made["kind"]) == ("v1", "Secret")
        with pytest.raises(KubeError, match="already exists") as caught:
            await kube.create("Secret", "a", body)
        assert caught.value.conflict
        assert await kube.list_all("Secret", "a", {"app": "x"}) == [made]
        assert await kube.list_all("Secret", labels={"app": "y"}) == []
        await kube.patch("Secret", "a", "s", {"data": {"k": None, "l": "djI="}})
        assert (await kube.get("Secret", "a", "s"))["data"] == {"l": "djI="}
        with pytest.raises(KubeError) as stale:
            await kube.replace("Secret", "a", "s", made)
        assert stale.value.conflict
        with pytest.raises(KubeError):
            await kube.delete("Secret", "a", "s", uid="another")
        await kube.delete("Secret", "a", "s", uid=made["metadata"]["uid"])
        await kube.delete("Secret", "a", "s")
        with pytest.raises(KubeError) as gone:
            await kube.get("Secret", "a", "s")
        assert gone.value.not_found

    seen = against(scene)
    assert {request.headers["Authorization"] for request in seen} == {"Bearer canary"}
    patch = next(request for request in seen if request.method == "PATCH")
    assert patch.path == "/api/v1/namespaces/a/secrets/s"
    assert patch.headers["Content-Type"] == "application/merge-patch+json"
    assert "canary" not in repr(Access("https://k", token="canary"))


def test_custom_and_cluster_wide_kinds_and_both_patches() -> None:
    async def scene(kube: Kube, cluster: MemoryCluster) -> None:
        await kube.create("Widget", "a", {"metadata": {"name": "w"}, "spec": {"size": 1}})
        await kube.patch("Widget", "a", "w", {"status": {"ready": True}}, subresource="status")
        widget = await kube.get("Widget", "a", "w")
        assert (widget["apiVersion"], widget["status"]) == ("example.test/v1", {"ready": True})
        kind = "MutatingWebhookConfiguration"
        await kube.create(kind, "", {"metadata": {"name": "cfg"}, "webhooks": [{}]})
        change = [{"op": "add", "path": "/webhooks/0/name", "value": "x"}]
        assert (await kube.patch(kind, "", "cfg", change))["webhooks"] == [{"name": "x"}]
        with pytest.raises(KubeError) as caught:
            await kube.patch(kind, "", "cfg", [{"op": "test", "path": "/kind", "value": "y"}])
        assert caught.value.status == 422

    seen = against(scene)
    assert "/apis/example.test/v1/namespaces/a/widgets/w/status" in {r.path for r in seen}
    assert seen[-1].headers["Content-Type"] == "application/json-patch+json"


def test_a_token_is_asked_for_an_account() -> None:
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u"}

    async def scene(kube: Kube, cluster: MemoryCluster) -> None:
        cluster.add("ServiceAccount", "a", {"metadata": {"name": "app"}})
        assert (
            await kube.service_account_token("a", "app", ["vault"], 600, bound) == "sa:a:app:vault"
        )
        with pytest.raises(KubeError, match='"ghost" not found'):
            await kube.service_account_token("a", "ghost", [], 600)

    against(scene)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a?b"])
def test_a_name_never_leads_elsewhere(name: str) -> None:
    async def scene(kube: Kube, cluster: MemoryCluster) -> None:
        cluster.add("Secret", "a", {"metadata": {"name": "b"}})
        assert await kube.find("Secret", "a", name) is None
        await kube.delete("Secret", "a", name)
        assert ("Secret", "a", "b") in cluster.objects

    seen = against(scene)
    assert all(request.raw_path.startswith("/api/v1/namespaces/a/secrets/") for request in seen)
    assert all(request.raw_path.count("/") == 6 for request in seen)


def test_the_token_file_is_read_for_each_request(tmp_path: Path) -> None:
    file = tmp_path / "token"

    async def scene(kube: Kube, cluster: MemoryCluster) -> None:
        for token in ("one\n", "two"):
            file.write_text(token, encoding="ascii")
            await kube.find("Secret", "a", "s")
        file.unlink()
        with pytest.raises(KubeError, match="FileNotFoundError"):
            await kube.find("Secret", "a", "s")

    seen = against(scene, file)
    assert [r.headers["Authorization"] for r in seen] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (web.json_response({"message": "no right"}, status=403), 403, "^no right$"),
        (web.Response(text="<html>canary", status=502), 502, "answered 502 Bad Gateway$"),
        (web.Response(status=429), 429, "answered 429 Too Many Requests$"),
        (web.Response(text="<html>canary"), 0, "with something else than JSON$"),
        (web.Response(text='{"n": NaN}'), 0, "with something else than JSON$"),
        (
            web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
            302,
            "answered 302",
        ),
    ],
)
def test_refusals_say_what_was_asked_and_quote_no_page(
    answer: web.Response, status: int, text: str
) -> None:
    async def scene(kube: Kube) -> None:
        with pytest.raises(KubeError, match=text) as caught:
            await kube.get("Lease", "a", "the-lease")
        assert caught.value.status == status
        assert caught.value.busy is (status == 429)
        assert "canary" not in str(caught.value)
        assert status == 403 or "/leases/the-lease" in str(caught.value)

    answering(answer, scene)


def test_no_number_that_json_lacks_is_sent() -> None:
    async def scene(kube: Kube, cluster: MemoryCluster) -> None:
        with pytest.raises(ValueError, match="has no JSON form"):
            await kube.create("Secret", "a", {"metadata": {"name": "s"}, "n": float("nan")})

    assert against(scene) == []


def test_a_server_that_is_not_there_or_silent() -> None:
    async def scene() -> None:
        async with Kube(Access("http://127.0.0.1:1")) as kube:
            with pytest.raises(KubeError, match=r"secrets/s: .*ClientConnectorError") as caught:
                await kube.get("Secret", "a", "s")
            assert caught.value.status == 0
        server = await asyncio.start_server(lambda *_: asyncio.sleep(0), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Kube(Access(f"http://127.0.0.1:{port}"), timeout=0.1) as kube:
            with pytest.raises(KubeError, match="did not answer within 0s"):
                await kube.get("Secret", "a", "s")
        server.close()

    asyncio.run(scene())


def test_a_watch_is_of_metadata_and_ends_with_an_error_or_by_itself() -> None:
    events = [{"type": "ADDED", "object": {"metadata": {"name": "s"}}}, {"type": "BOOKMARK"}]
    lines = "".join(json.dumps(event) + "\n" for event in events)
    found: list[Any] = []

    async def follow(kube: Kube) -> None:
        found.extend([event async for event in kube.watch_metadata("Secret", {"a": "b"}, "7")])

    answering(web.Response(text=lines), follow)
    assert found == events

    async def broken(kube: Kube) -> None:
        with pytest.raises(KubeError, match="watch of Secret"):
            await follow(kube)

    answering(web.Response(text='{"type": Infinity}\n'), broken)
    answering(web.Response(status=410), broken)


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
