"""The transport to Vault over HTTP on the loopback: what is sent, and what becomes an error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from standins.common.connection import Connection
from standins.common.vault import Vault, VaultError

Scene = Callable[[Vault, Connection], Awaitable[None]]


def against(answer: web.Response, scene: Scene) -> list[web.Request]:
    """Run `scene` against a server that always answers so; the requests it saw."""
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        seen.append(request)
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)

    async def play() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        vault = Vault()
        try:
            await scene(vault, Connection(f"http://127.0.0.1:{runner.addresses[0][1]}"))
        finally:
            await vault.close()
            await runner.cleanup()

    asyncio.run(play())
    return seen


def failure(answer: web.Response) -> VaultError:
    """The error that this answer becomes."""
    found: list[VaultError] = []

    async def scene(vault: Vault, to: Connection) -> None:
        with pytest.raises(VaultError) as caught:
            await vault.send(to, "GET", "kv/data/app", token="hvs.canary-token")
        found.append(caught.value)

    against(answer, scene)
    assert "canary" not in str(found[0])
    return found[0]


def test_a_path_never_begins_a_query() -> None:
    async def scene(vault: Vault, to: Connection) -> None:
        await vault.send(to, "GET", "kv/data/q?version=1", query={"version": ["2"]})
        await vault.send(to, "GET", "auth/kubernetes//login#x")

    seen = against(web.json_response({}), scene)
    assert [request.raw_path for request in seen] == [
        "/v1/kv/data/q%3Fversion=1?version=2",
        "/v1/auth/kubernetes/login%23x",
    ]
    assert seen[0].path == "/v1/kv/data/q?version=1"


@pytest.mark.parametrize("namespace", ["a\nX-Vault-Token: x", "a\r", "a\0b", "\x7f", "\x01"])
def test_what_cannot_be_a_header_is_refused_in_words(namespace: str) -> None:
    async def scene(vault: Vault, to: Connection) -> None:
        with pytest.raises(VaultError) as caught:
            await vault.send(to, "GET", "x", namespace=namespace)
        assert str(caught.value).endswith(
            'net/http: invalid header field value for "X-Vault-Namespace"'
        )
        assert not caught.value.passing

    assert not against(web.json_response({}), scene)


def test_headers_and_namespaces() -> None:
    async def scene(vault: Vault, to: Connection) -> None:
        team = Connection(to.address, namespace="team", headers=(("X-Own", "1"),))
        await vault.send(team, "PUT", "x", {}, token="t")
        await vault.send(team, "GET", "x", namespace="other")
        assert vault.requests == 2

    one, two = against(web.json_response({}), scene)
    assert one.headers["X-Vault-Token"] == "t"
    assert (one.headers["X-Vault-Namespace"], one.headers["X-Own"]) == ("team", "1")
    assert one.headers["Content-Type"] == "application/json"
    assert "X-Vault-Token" not in two.headers
    assert two.headers["X-Vault-Namespace"] == "other"
    assert {request.headers["X-Vault-Request"] for request in (one, two)} == {"true"}


@pytest.mark.parametrize(
    ("status", "body", "ending"),
    [
        (403, b'{"errors":["permission denied"]}', "Code: 403. Errors:\n\n* permission denied"),
        (404, b'{"data":{"metadata":{"custom_metadata":"canary"}}}', "Code: 404. Errors:\n\n"),
        (400, b'{"errors":null,"data":"canary"}', "Code: 400. Errors:\n\n"),
        (502, b"<html>canary", "Code: 502. Raw Message:\n\n(not JSON, and not shown)"),
        (500, b'{"errors":[NaN,"canary"]}', "Raw Message:\n\n(not JSON, and not shown)"),
        (404, b"", "Code: 404. Errors:\n\n"),
    ],
)
def test_a_servers_body_is_never_quoted(status: int, body: bytes, ending: str) -> None:
    error = failure(web.Response(body=body, status=status))
    assert str(error).endswith(ending)
    assert str(error).startswith("Error making API request.\n\nURL: GET http://127.0.0.1:")
    assert error.status == status


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    location = "http://127.0.0.1:1/v1/canary"
    error = failure(web.Response(status=status, headers={"Location": location}))
    assert "* a redirect, and none is followed" in str(error)
    assert error.status == status


@pytest.mark.parametrize(
    "body", [b"<html>", b"[1]", b'"x"', b"{", b"[" * 100_000, b"\xff", b"NaN", b'{"a":-Infinity}']
)
def test_what_is_not_an_answer_is_refused(body: bytes) -> None:
    assert str(failure(web.Response(body=body))) == "the response is not a JSON object"


def test_an_answer_of_any_length_does_not_fill_the_memory() -> None:
    text = str(failure(web.Response(body=b" " * (8 * 1024 * 1024 + 1))))
    assert text == "the response is larger than 8388608 bytes"


def test_no_number_that_json_lacks_is_sent() -> None:
    async def scene(vault: Vault, to: Connection) -> None:
        for number in (float("nan"), float("inf")):
            with pytest.raises(ValueError, match="has no JSON form"):
                await vault.send(to, "PUT", "x", {"n": number})

    assert against(web.json_response({}), scene) == []


@pytest.mark.parametrize(
    ("status", "passing"),
    [(400, False), (403, False), (412, True), (429, True), (500, True), (501, False), (503, True)],
)
def test_it_is_known_whether_another_try_may_help(status: int, passing: bool) -> None:
    assert failure(web.json_response({"errors": []}, status=status)).passing is passing


def test_the_body_of_a_refusal_is_there_for_those_who_know_what_to_look_for() -> None:
    error = failure(web.json_response({"data": {"deletion_time": "canary"}}, status=404))
    assert error.body == {"data": {"deletion_time": "canary"}}
    assert "canary" not in repr(error)


def test_an_answer_shows_no_value_in_its_repr() -> None:
    async def scene(vault: Vault, to: Connection) -> None:
        reply = await vault.send(to, "GET", "x")
        assert reply.body == {"data": {"a": "canary"}}
        assert "canary" not in repr(reply)

    against(web.json_response({"data": {"a": "canary"}}), scene)


def test_a_vault_that_is_not_there() -> None:
    async def scene(vault: Vault, to: Connection) -> None:
        with pytest.raises(VaultError) as caught:
            await vault.send(Connection("http://127.0.0.1:1"), "PUT", "auth/k/login", {"a": "b"})
        cause = "dial tcp 127.0.0.1:1: connect: connection refused"
        assert str(caught.value) == f'Put "http://127.0.0.1:1/v1/auth/k/login": {cause}'
        assert (caught.value.cause, caught.value.status, caught.value.passing) == (cause, 0, True)

    against(web.json_response({}), scene)
