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

from standins.operator import model
from standins.operator.kube import KubeError
from standins.operator.kubehttp import Access, HttpKube, from_kubeconfig
from standins.operator.vaulthttp import Target, VaultApi, VaultError
from standins.operator.watching import lost_secrets
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


def test_paths_and_bodies_of_the_kubernetes_api() -> None:
    async def scene() -> None:
        seen: Seen = []
        answers: dict[str, Any] = {
            "GET /api/v1/namespaces/a/secrets/s": (200, {"metadata": {"name": "s"}}),
            "GET /apis/secrets.hashicorp.com/v1beta1/vaultauths": (200, {"items": [{"spec": {}}]}),
            "PATCH /apis/secrets.hashicorp.com/v1beta1/namespaces/a/vaultauths/v/status": (200, {}),
            "POST /api/v1/namespaces/a/serviceaccounts/sa/token": (
                201,
                {"status": {"token": "t.o.k"}},
            ),
            "POST /api/v1/namespaces/a/secrets": (409, {"message": "there", "reason": "Already"}),
            "DELETE /api/v1/namespaces/a/secrets/s": (404, {}),
        }
        async with (
            server(answers, seen) as url,
            HttpKube(Access(url, None, token="tok")) as kube,
        ):
            assert (await kube.get("Secret", "a", "s"))["metadata"]["name"] == "s"
            assert await kube.list_all(model.AUTH) == [{"kind": "VaultAuth", "spec": {}}]
            await kube.patch(model.AUTH, "a", "v", {"status": {"x": 1}}, subresource="status")
            assert seen[-1][2]["Content-Type"] == "application/merge-patch+json"
            assert await kube.service_account_token("a", "sa", ["vault"], 600) == "t.o.k"
            request = json.loads(seen[-1][3])
            assert request["spec"] == {"audiences": ["vault"], "expirationSeconds": 600}
            with pytest.raises(KubeError, match="there") as caught:
                await kube.create("Secret", "a", {"metadata": {"name": "s"}})
            assert caught.value.conflict
            sent = json.loads(seen[-1][3])
            assert (sent["apiVersion"], sent["kind"]) == ("v1", "Secret")
            await kube.delete("Secret", "a", "s", uid="u")
            assert json.loads(seen[-1][3]) == {"preconditions": {"uid": "u"}}
            assert {headers["Authorization"] for _, _, headers, _ in seen} == {"Bearer tok"}
            assert "tok" not in repr(Access(url, None, token="tok"))
        async with HttpKube(Access("http://127.0.0.1:1", None)) as kube:
            with pytest.raises(KubeError) as lost:
                await kube.get("Secret", "a", "s")
            assert lost.value.status == 0

    play(scene)


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
        async with HttpKube(Access(url, None)) as kube:
            task = asyncio.create_task(lost_secrets(kube, lambda obj: lost.append(model.name(obj))))
            while len(lost) < 2:
                await asyncio.sleep(0.02)
            over.set()
            task.cancel()
        assert lost == ["x", "y"]
        assert all("PartialObjectMetadata" in headers["Accept"] for _, _, headers, _ in seen)
        await runner.cleanup()

    play(scene)


def test_a_kubeconfig_of_kind_is_understood(tmp_path: Path) -> None:
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
    access = from_kubeconfig(path)
    assert access.server == "https://127.0.0.1:6443"
    assert access.tls is not None
    assert len(access.tls.get_ca_certs()) == 1


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
        async with server(answers, [], tls) as url:
            good = VaultApi(Target(url, authority.decode(), "vault.vault.svc"))
            answer = await good.call("GET", "sys/seal-status")
            assert answer is not None
            assert answer.data == {"sealed": False}
            await good.close()
            stranger = certificate("vault.vault.svc")[0].decode()
            for target in (
                Target(url, authority.decode()),
                Target(url, stranger, "vault.vault.svc"),
                Target(url, "", "vault.vault.svc"),
            ):
                api = VaultApi(target)
                with pytest.raises(VaultError) as caught:
                    await api.call("GET", "sys/seal-status")
                assert caught.value.status == 0
                await api.close()

    play(scene)


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (403, {"errors": ["permission denied"]}, "Code: 403. Errors: permission denied"),
        (502, "<html>secret page</html>", "Code: 502. Errors: the answer is not JSON"),
        (503, {"errors": ["Vault is sealed"]}, "Vault is sealed"),
        (404, {"errors": ["no handler for route"]}, "no handler for route"),
    ],
)
def test_refusals_of_vault(status: int, body: Any, text: str) -> None:
    async def scene() -> None:
        async with server({"GET /v1/x": (status, body)}, []) as url:
            api = VaultApi(Target(url))
            with pytest.raises(VaultError, match=text) as caught:
                await api.call("GET", "x", token="hvs.canary")
            assert "canary" not in str(caught.value)
            assert "secret page" not in str(caught.value)
            await api.close()

    play(scene)


def test_headers_of_a_request_and_a_changed_target() -> None:
    async def scene() -> None:
        seen: Seen = []
        async with server(
            {"PUT /v1/x": (204, ""), "GET /v1/x": (404, {"errors": []})}, seen
        ) as url:
            api = VaultApi(Target("http://127.0.0.1:1", headers=(("X-Old", "1"),)))
            api.retarget(Target(url + "/", headers=(("X-New", "1"),), timeout="5s"))
            assert await api.call("PUT", "/x", token="t", namespace="team", body={}) is None
            assert await api.call("GET", "x") is None
            sent = seen[0][2]
            assert (sent["X-Vault-Token"], sent["X-Vault-Namespace"]) == ("t", "team")
            assert (sent["X-New"], sent["X-Vault-Request"]) == ("1", "true")
            assert "X-Old" not in sent
            assert "X-Vault-Token" not in seen[1][2]
            await api.close()

    play(scene)
