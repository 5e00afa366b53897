"""The two HTTP clients against servers on the loopback: paths, headers, TLS, refusals."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from standins.common.account import Access
from standins.common.connection import Connection
from standins.common.vault import Vault, VaultError
from standins.operator import model
from standins.operator.runtime import open_kube
from standins.operator.vaultclient import Target, VaultApi
from standins.operator.watching import access, lost_secrets
from tests.standins.operator.world import play

Seen = list[tuple[str, str, dict[str, str], Any]]


@asynccontextmanager
async def server(
    answers: dict[str, Any], seen: Seen, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A server that answers by "METHOD path" and remembers what it was asked."""

    async def handle(request: web.Request) -> web.Response:
        text = await request.text()
        seen.append((request.method, request.path_qs, dict(request.headers), text))
        status, body = answers.get(f"{request.method} {request.path}", (404, {"message": "no"}))
        shown = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=shown)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def test_a_deleted_secret_is_told_also_when_the_watch_missed_it() -> None:
    async def scene() -> None:
        seen: Seen = []
        owner = {"apiVersion": model.API_VERSION, "kind": model.STATIC, "name": "one"}

        def item(uid: str) -> model.Obj:
            meta = {"uid": uid, "namespace": "a", "name": uid, "ownerReferences": [owner]}
            return {"metadata": {**meta, "resourceVersion": "7"}}

        over = asyncio.Event()
        lists = [
            {"metadata": {"resourceVersion": "1"}, "items": [item("x"), item("y")]},
            {"metadata": {"resourceVersion": "9"}, "items": []},
        ]
        deleted = json.dumps({"type": "DELETED", "object": item("x")})
        gone = json.dumps({"type": "ERROR", "object": {"code": 410, "message": "too old"}})

        async def handle(request: web.Request) -> web.Response:
            seen.append((request.method, request.path_qs, dict(request.headers), ""))
            if "watch" in request.query:
                if not lists:
                    await over.wait()
                return web.Response(text=f"{deleted}\n{gone}\n")
            return web.json_response(lists.pop(0))

        app = web.Application()
        app.router.add_get("/api/v1/secrets", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        lost: list[str] = []
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with open_kube(Access(url)) as kube:
            task = asyncio.create_task(lost_secrets(kube, lambda obj: lost.append(model.name(obj))))
            while len(lost) < 2:
                await asyncio.sleep(0.02)
            over.set()
            task.cancel()
        assert lost == ["x", "y"]
        assert all("PartialObjectMetadata" in headers["Accept"] for _, _, headers, _ in seen)
        await runner.cleanup()

    play(scene)


def test_a_kubeconfig_of_kind_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, key = certificate("ca")
    import base64

    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [
            {
                "name": "k",
                "cluster": {
                    "server": "https://127.0.0.1:6443",
                    "certificate-authority-data": base64.b64encode(authority).decode(),
                },
            }
        ],
        "users": [
            {
                "name": "u",
                "user": {
                    "client-certificate-data": base64.b64encode(authority).decode(),
                    "client-key-data": base64.b64encode(key).decode(),
                },
            }
        ],
    }
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", "")
    found = access(str(path))
    assert found.server == "https://127.0.0.1:6443"
    assert found.tls is not None
    assert len(found.tls.get_ca_certs()) == 1


def certificate(name: str) -> tuple[bytes, bytes]:
    """A self-signed certificate for 127.0.0.1 and `name`, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return built.public_bytes(serialization.Encoding.PEM), private


def test_vault_is_trusted_by_its_ca_and_name_only(tmp_path: Path) -> None:
    async def scene() -> None:
        authority, key = certificate("vault.vault.svc")
        (tmp_path / "both.pem").write_bytes(authority + key)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(tmp_path / "both.pem")
        answers: dict[str, Any] = {"GET /v1/sys/seal-status": (200, {"sealed": False})}
        name = "vault.vault.svc"
        vault = Vault()
        async with server(answers, [], tls) as url:
            good = Connection(url, ca_pem=authority.decode(), server_name=name)
            answer = await VaultApi(vault, Target(good, 5.0)).call("GET", "sys/seal-status")
            assert answer is not None
            assert answer.data == {"sealed": False}
            stranger = certificate(name)[0].decode()
            for bad in (
                Connection(url, ca_pem=authority.decode()),
                Connection(url, ca_pem=stranger, server_name=name),
                Connection(url, server_name=name),
            ):
                with pytest.raises(VaultError, match="x509: ") as caught:
                    await VaultApi(vault, Target(bad, 5.0)).call("GET", "sys/seal-status")
                assert caught.value.status == 0
        await vault.close()

    play(scene)


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (403, {"errors": ["permission denied"]}, r"Code: 403. Errors:\n\n\* permission denied"),
        (502, "<html>secret page</html>", "Code: 502. Raw Message:"),
        (503, {"errors": ["Vault is sealed"]}, "Vault is sealed"),
        (404, {"errors": ["no handler for route"]}, "no handler for route"),
    ],
)
def test_refusals_of_vault(status: int, body: Any, text: str) -> None:
    async def scene() -> None:
        vault = Vault()
        async with server({"GET /v1/x": (status, body)}, []) as url:
            api = VaultApi(vault, Target(Connection(url), 5.0))
            with pytest.raises(VaultError, match=text) as caught:
                await api.call("GET", "x", token="hvs.canary")
            assert "canary" not in str(caught.value)
            assert "secret page" not in str(caught.value)
        await vault.close()

    play(scene)


def test_headers_of_a_request_and_a_changed_target() -> None:
    async def scene() -> None:
        seen: Seen = []
        answers = {
            "PUT /v1/x": (204, ""),
            "GET /v1/x": (404, {"errors": []}),
            "GET /v1/kv": (404, {"data": {"data": None, "metadata": {"version": 3}}}),
        }
        vault = Vault()
        async with server(answers, seen) as url:
            api = VaultApi(
                vault, Target(Connection("http://127.0.0.1:1", headers=(("X-Old", "1"),)), 5.0)
            )
            api.target = Target(Connection(url + "/", headers=(("X-New", "1"),)), 5.0)
            headers = {"X-Login": "1"}
            done = await api.call(
                "PUT", "/x", token="t", namespace="team", body={}, headers=headers
            )
            assert done is None
            assert await api.call("GET", "x") is None
            deleted = await api.call("GET", "kv", params={"version": "3"})
            assert deleted is not None
            assert deleted.data["metadata"] == {"version": "3"}
            assert seen[-1][1] == "/v1/kv?version=3"
            sent = seen[0][2]
            assert (sent["X-Vault-Token"], sent["X-Vault-Namespace"]) == ("t", "team")
            assert (sent["X-New"], sent["X-Vault-Request"], sent["X-Login"]) == ("1", "true", "1")
            assert "X-Old" not in sent
            assert "X-Vault-Token" not in seen[1][2]
            assert "X-Login" not in seen[1][2]
        await vault.close()

    play(scene)


def test_a_vault_that_does_not_answer_in_time() -> None:
    async def scene() -> None:
        over = asyncio.Event()

        async def handle(_: web.Request) -> web.Response:
            await over.wait()
            return web.Response()

        app = web.Application()
        app.router.add_get("/v1/x", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        vault = Vault()
        with pytest.raises(VaultError, match=r'^Get "http://.*/v1/x": context deadline exceeded$'):
            await VaultApi(vault, Target(Connection(url), 0.1)).call("GET", "x")
        over.set()
        await vault.close()
        await runner.cleanup()

    play(scene)
