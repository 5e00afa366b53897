"""Connections, auths and logins: what is valid, what is said, what a change causes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from pathlib import Path
from typing import Any

import pytest

from standins.operator import clients, model
from standins.operator.clients import ClientRefused
from standins.operator.leases import LEDGER
from standins.operator.model import Reason
from tests.standins.operator.fakevault import FakeVault
from tests.standins.operator.world import APP, HOME, World, play, world

JWT = base64.b64encode(b"signed.by.somebody").decode()


def test_a_connection_is_pinged() -> None:
    async def scene() -> None:
        async with world() as w:
            w.make(model.CONNECTION, "good", {"address": w.vault.base})
            assert await w.run(model.CONNECTION, "good") is None
            assert w.status(model.CONNECTION, "good")["valid"] is True
            assert w.condition(model.CONNECTION, "good", "VaultPing")["status"] == "True"
            assert w.events.text(Reason.ACCEPTED) == "VaultConnection accepted"
            w.make(model.CONNECTION, "bad", {"address": "http://127.0.0.1:1"})
            after = await w.run(model.CONNECTION, "bad")
            assert after is not None
            assert 4 <= after <= 4.5
            assert w.status(model.CONNECTION, "bad")["valid"] is False
            assert w.condition(model.CONNECTION, "bad", "ResourceValidation")["status"] == "False"
            assert {Reason.VAULT_CLIENT_ERROR, Reason.INVALID_CONFIGURATION} == set(
                w.events.reasons("bad")
            )

    play(scene)


def test_a_connection_without_its_ca_is_invalid() -> None:
    async def scene() -> None:
        async with world() as w:
            spec = {"address": "https://127.0.0.1:1", "caCertSecretRef": "ca"}
            w.make(model.CONNECTION, "tls", spec)
            await w.run(model.CONNECTION, "tls")
            assert (
                'secrets "ca" not found'
                in w.condition(model.CONNECTION, "tls", "VaultClient")["message"]
            )
            w.kube.add("Secret", APP, {"metadata": {"name": "ca"}, "data": {"ca.crt": "eA=="}})
            await w.run(model.CONNECTION, "tls")
            message = w.condition(model.CONNECTION, "tls", "VaultClient")["message"]
            assert "Error appending CA: Couldn't parse PEM" in message

    play(scene)


def test_auth_validity() -> None:
    async def scene() -> None:
        async with world() as w:
            await w.run(model.AUTH, "default", HOME)
            home = w.obj(model.AUTH, "default", HOME)
            assert home["status"]["valid"] is True
            assert len(home["status"]["specHash"]) == 64
            w.make(
                model.AUTH,
                "lost",
                {"method": "jwt", "mount": "jwt", "vaultConnectionRef": "nowhere"},
            )
            await w.run(model.AUTH, "lost")
            assert "not found in apps" in w.status(model.AUTH, "lost")["error"]
            assert Reason.INVALID_RESOURCE_REF in w.events.reasons("lost")
            w.make(model.AUTH, "bare", {"method": "jwt", "mount": "jwt"}, HOME)
            await w.run(model.AUTH, "bare", HOME)
            error = w.obj(model.AUTH, "bare", HOME)["status"]["error"]
            assert 'vaultConnectionRef must be set on resources in the "vso" namespace' in error

    play(scene)


def test_a_changed_auth_replaces_leased_credentials() -> None:
    async def scene() -> None:
        async with world() as w:
            await w.run(model.AUTH, "default", HOME)
            w.dynamic()
            await w.run(model.DYNAMIC, "db")
            before = w.status(model.DYNAMIC, "db")
            w.drain()
            w.kube.edit(model.AUTH, HOME, "default", {"spec": {"kubernetes": {"role": "new"}}})
            await w.run(model.AUTH, "default", HOME)
            assert w.queued(model.DYNAMIC, "db")
            await w.run(model.DYNAMIC, "db")
            after = w.status(model.DYNAMIC, "db")
            assert after["vaultClientMeta"]["cacheKey"] != before["vaultClientMeta"]["cacheKey"]
            assert after["secretLease"]["id"] != before["secretLease"]["id"]

    play(scene)


def test_a_changed_connection_replaces_leased_credentials() -> None:
    async def scene() -> None:
        async with world() as w:
            w.dynamic()
            await w.run(model.DYNAMIC, "db")
            lease = w.status(model.DYNAMIC, "db")["secretLease"]["id"]
            w.drain()
            w.kube.edit(model.CONNECTION, HOME, "default", {"spec": {"headers": {"X-A": "b"}}})
            assert w.queued(model.DYNAMIC, "db")
            await w.run(model.DYNAMIC, "db")
            assert w.status(model.DYNAMIC, "db")["secretLease"]["id"] != lease

    play(scene)


async def login(w: World, method: str, block: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """The body of the login that an auth of this method makes."""
    spec = {
        "vaultConnectionRef": f"{HOME}/default",
        "method": method,
        "mount": method,
        method: block,
        **more,
    }
    w.make(model.AUTH, method.lower(), spec)
    consumer = w.static(f"by-{method.lower()}", vaultAuthRef=method.lower())
    await w.context.clients.get(consumer)
    return next(body for path, body in w.vault.bodies if path == f"auth/{method}/login")


def test_logins_of_each_method(tmp_path: Path) -> None:
    async def scene() -> None:
        async with world() as w:
            w.kube.add("Secret", APP, {"metadata": {"name": "token"}, "data": {"jwt": JWT}})
            w.kube.add("Secret", APP, {"metadata": {"name": "sid"}, "data": {"id": JWT}})
            body = await login(
                w, "kubernetes", {"role": "r", "serviceAccount": "app", "audiences": ["vault"]}
            )
            assert body == {"role": "r", "jwt": "sa:apps:app:vault"}
            body = await login(w, "jwt", {"role": "r", "secretRef": "token"}, params={"p": "q"})
            assert body == {"role": "r", "jwt": "signed.by.somebody"}, "upstream sends no params"
            body = await login(w, "appRole", {"roleId": "i", "secretRef": "sid"})
            assert body == {"role_id": "i", "secret_id": "signed.by.somebody"}

    play(scene)


def test_a_secret_id_is_read_from_a_mounted_secret(tmp_path: Path) -> None:
    """The kubelet mounts each key as a link into a folder of the present version."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data/id").write_text("s3cr3t-id\n", encoding="utf-8")
    (tmp_path / "id").symlink_to(tmp_path / "..data/id")

    async def scene() -> None:
        async with world() as w:
            body = await login(w, "appRole", {"roleId": "i", "secretIDPath": str(tmp_path / "id")})
            assert body == {"role_id": "i", "secret_id": "s3cr3t-id"}

    play(scene)


@pytest.mark.parametrize(
    ("method", "block", "text"),
    [
        (
            "kubernetes",
            {"role": "r", "serviceAccount": "nobody"},
            'ServiceAccount "nobody" not found',
        ),
        (
            "kubernetes",
            {"role": "r", "serviceAccount": "other/x"},
            'ServiceAccount "other/x" not found',
        ),
        ("kubernetes", {"serviceAccount": "app"}, "invalid kubernetes auth .*: empty role"),
        ("kubernetes", {"role": "r"}, "invalid kubernetes auth .*: empty serviceAccount"),
        ("kubernetes", None, "kubernetes auth method not configured"),
        ("jwt", {"role": "r", "secretRef": "none"}, 'Secret "none" not found'),
        (
            "jwt",
            {"role": "r", "secretRef": "other/x"},
            r"""invalid resource name "other/x": \[may not contain '/'\]""",
        ),
        ("jwt", {"role": "r"}, "either serviceAccount or JWT token secret key selector"),
        ("appRole", {"roleId": "i"}, "either secretRef or secretIDPath must be specified"),
        (
            "appRole",
            {"roleId": "i", "secretRef": "a", "secretIDPath": "/b"},
            "secretRef and secretIDPath are mutually exclusive",
        ),
        ("appRole", {"secretRef": "a"}, "invalid AppRole auth configuration: empty roleID"),
        ("appRole", {"roleId": "i", "secretIDPath": "relative"}, "must be an absolute path"),
        ("appRole", {"roleId": "i", "secretIDPath": "/a/../b"}, "path traversal detected"),
        ("appRole", {"roleId": "i", "secretIDPath": "/no/file"}, "no such file or directory"),
        ("appRole", {"roleId": "i", "secretIDPath": "/dev/null"}, "must be a regular file"),
        ("aws", {"role": "x"}, "unsupported authentication method aws"),
        ("kubernetes", {"serviceAccount": "app", "role": "wrong"}, "permission denied"),
    ],
)
def test_logins_that_cannot_be(method: str, block: dict[str, Any] | None, text: str) -> None:
    async def scene() -> None:
        async with world() as w:
            with pytest.raises(ClientRefused, match=text):
                await login(w, method, block)

    play(scene)


def test_one_login_however_many_ask() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            for number in range(50):
                w.static(f"s{number}")
            await asyncio.gather(*(w.run(model.STATIC, f"s{number}") for number in range(50)))
            assert w.context.clients.logins == 1
            assert [path for _, path in w.vault.requests].count("auth/token/renew-self") == 1

    play(scene)


def test_a_batch_token_is_used_to_its_end() -> None:
    """It has no accessor and cannot be renewed; upstream takes it all the same."""

    async def scene() -> None:
        async with world(FakeVault(clock=time.time(), token_ttl=1)) as w:
            # A batch token has no accessor and is not renewable.
            w.vault.grant = {"accessor": "", "renewable": False}
            w.vault.put("app", {"v": "one"})
            w.static()
            await w.run(model.STATIC, "config")
            assert w.secret("config")["v"] == "one"
            assert w.status(model.STATIC, "config")["vaultClientMeta"]["id"] == ""
            assert "auth/token/renew-self" not in [path for _, path in w.vault.requests]
            assert ("Secret", HOME, LEDGER) not in w.kube.objects
            async with asyncio.timeout(10):
                while w.context.clients.live():
                    await asyncio.sleep(0.05)
            await w.run(model.STATIC, "config")
            assert w.context.clients.logins == 2

    play(scene)


def test_a_token_that_may_not_renew_itself_is_refused() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.denied.add("auth/token/renew-self")
            with pytest.raises(ClientRefused, match="403"):
                await w.context.clients.get(w.static())

    play(scene)


def test_tokens_are_renewed_in_time_and_given_up_when_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clients, "_TOO_SHORT", 0.1)

    async def scene() -> None:
        async with world() as w:
            w.vault.token_ttl = 1
            w.vault.clock = 0
            w.dynamic()
            await w.run(model.DYNAMIC, "db")
            w.drain()

            async def renewals(count: int) -> None:
                while [path for _, path in w.vault.requests].count("auth/token/renew-self") < count:
                    await asyncio.sleep(0.05)

            await asyncio.wait_for(renewals(2), 5)
            assert w.context.clients.live()
            w.vault.denied.add("auth/token/renew-self")
            await asyncio.wait_for(renewals(3), 5)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while w.context.clients.live():
                        await asyncio.sleep(0.05)
            assert not w.context.clients.live()
            assert w.queued(model.DYNAMIC, "db")

    play(scene)


def test_a_client_does_not_show_its_token() -> None:
    async def scene() -> None:
        async with world() as w:
            view = await w.context.clients.get(w.static())
            token = next(iter(w.vault.tokens))
            assert token not in repr(view.client)
            assert token not in repr(view.meta)

    play(scene)


def test_two_vaults_feed_one_namespace() -> None:
    async def scene() -> None:
        second = FakeVault()
        async with world() as w, second.served():
            w.vault.put("app", {"from": "first"})
            second.put("app", {"from": "second"})
            w.make(model.CONNECTION, "second", {"address": second.base})
            block = {"role": "app", "serviceAccount": "app"}
            w.make(
                model.AUTH,
                "second",
                {
                    "vaultConnectionRef": "second",
                    "method": "kubernetes",
                    "mount": "kubernetes",
                    "kubernetes": block,
                },
            )
            w.static("one")
            w.static("two", vaultAuthRef="second")
            await w.run(model.STATIC, "one")
            await w.run(model.STATIC, "two")
            assert w.secret("one")["from"] == "first"
            assert w.secret("two")["from"] == "second"

    play(scene)


def test_a_vault_that_was_away_is_found_again() -> None:
    async def scene() -> None:
        async with world() as w:
            w.dynamic()
            await w.run(model.DYNAMIC, "db")
            before = w.secret("db")
            w.vault.sealed = True
            await w.run(model.DYNAMIC, "db")
            assert w.secret("db") == before, "valid credentials stay where they are"
            assert w.condition(model.DYNAMIC, "db", "SecretSynced")["status"] == "False"
            w.vault.sealed = False
            await w.run(model.DYNAMIC, "db")
            assert w.condition(model.DYNAMIC, "db", "SecretSynced")["status"] == "True"
            assert w.context.clients.logins == 1

    play(scene)
