"""VaultPKISecret: issued, kept in form for TLS, replaced in time, revoked when asked."""

from __future__ import annotations

import time

import pytest

from standins.operator import model, pki
from standins.operator.model import Reason
from tests.standins.operator.world import APP, play, world

PKI = model.PKI


def test_a_certificate_for_tls() -> None:
    async def scene() -> None:
        async with world() as w:
            w.certificate(
                altNames=["a.test", "b.test"],
                ttl="1h",
                expiryOffset="10m",
                destination={"type": "kubernetes.io/tls"},
            )
            after = await w.run(PKI, "web")
            assert after is not None
            assert 50 * 60 - 5 <= after <= 50 * 60 * 1.05
            data = w.secret("web")
            assert data["tls.crt"] == f"{data['certificate']}\nCA"
            assert data["tls.key"] == data["private_key"]
            assert data["ca.crt"] == "CA"
            assert w.obj("Secret", "web")["type"] == "kubernetes.io/tls"
            body = dict(w.vault.bodies)["pki/issue/web"]
            assert body["alt_names"] == "a.test,b.test"
            assert body["remove_roots_from_chain"] is True
            assert body["ttl"] == "1h"
            assert "format" not in body
            status = w.status(PKI, "web")
            assert status["serialNumber"].endswith(":aa")
            assert status["valid"] is True
            assert w.obj(PKI, "web")["metadata"]["finalizers"] == [
                "vaultpkisecrets.secrets.hashicorp.com/finalizer"
            ]

    play(scene)


def test_a_chain_goes_behind_the_certificate_and_gives_no_ca() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.pki.chain = ["INTERMEDIATE", "UPPER"]
            w.certificate(destination={"type": "kubernetes.io/tls"})
            await w.run(PKI, "web")
            data = w.secret("web")
            assert data["tls.crt"].endswith("\nINTERMEDIATE\nUPPER")
            assert data["ca_chain"] == "INTERMEDIATE\nUPPER"
            assert "ca.crt" not in data

    play(scene)


@pytest.mark.usefixtures("gotemplate")
def test_templates_replace_the_tls_keys() -> None:
    async def scene() -> None:
        async with world() as w:
            templates = {"bundle": {"text": "{{ .Secrets.certificate }}+{{ .Secrets.issuing_ca }}"}}
            w.certificate(destination={"transformation": {"templates": templates}})
            await w.run(PKI, "web")
            assert w.secret("web")["bundle"].endswith("+CA")
            assert "tls.crt" not in w.secret("web")

    play(scene)


def test_renewed_before_its_end_revoked_and_restarted() -> None:
    async def scene() -> None:
        async with world() as w:
            w.make("StatefulSet", "web", {"template": {}})
            w.vault.pki.ttl = 30
            w.certificate(
                revoke=True,
                expiryOffset="25s",
                rolloutRestartTargets=[{"kind": "StatefulSet", "name": "web"}],
            )
            await w.run(PKI, "web")
            assert w.obj("StatefulSet", "web")["spec"]["template"] == {}
            serial = w.status(PKI, "web")["serialNumber"]
            await w.run(PKI, "web")
            assert w.status(PKI, "web")["serialNumber"] == serial
            stored = w.kube.objects[PKI, APP, "web"]
            stored["status"]["expiration"] = int(time.time()) + 20
            w.context.store.put(PKI, stored)
            await w.run(PKI, "web")
            assert w.status(PKI, "web")["serialNumber"] != serial
            assert w.vault.pki.revoked == [serial]
            assert w.obj("StatefulSet", "web")["spec"]["template"]["metadata"]
            assert Reason.ROTATED in w.events.reasons("web")
            # Told by an event alone, as upstream does it.
            assert Reason.ROLLOUT_RESTART_TRIGGERED in w.events.reasons("web")
            assert not w.condition(PKI, "web", "RolloutRestart")

    play(scene)


@pytest.mark.parametrize("trouble", ["edited", "deleted", "spec"])
def test_replaced_when_it_is_not_what_it_was(trouble: str) -> None:
    async def scene() -> None:
        async with world() as w:
            w.certificate()
            await w.run(PKI, "web")
            serial = w.status(PKI, "web")["serialNumber"]
            if trouble == "edited":
                w.kube.edit("Secret", APP, "web", {"data": {"private_key": "eA=="}})
            elif trouble == "deleted":
                w.kube.remove("Secret", APP, "web")
            else:
                w.kube.edit(PKI, APP, "web", {"spec": {"commonName": "new.test"}})
            await w.run(PKI, "web")
            assert w.status(PKI, "web")["serialNumber"] != serial
            assert w.secret("web")["private_key"].startswith("KEY")

    play(scene)


def test_deletion_revokes_and_clears() -> None:
    async def scene() -> None:
        async with world() as w:
            w.kube.add("Secret", APP, {"metadata": {"name": "web"}, "data": {}})
            w.certificate(revoke=True, clear=True, destination={"create": False})
            await w.run(PKI, "web")
            serial = w.status(PKI, "web")["serialNumber"]
            w.kube.remove(PKI, APP, "web")
            await w.run(PKI, "web")
            assert w.vault.pki.revoked == [serial]
            assert w.secret("web") == {}
            assert (PKI, APP, "web") not in w.kube.objects

    play(scene)


def test_a_missing_destination_is_said_aloud() -> None:
    async def scene() -> None:
        async with world() as w:
            w.certificate(destination={"create": False})
            await w.run(PKI, "web")
            assert "does not exist yet" in w.events.text(Reason.K8S_CLIENT_ERROR)
            assert w.condition(PKI, "web", "SecretSynced")["status"] == "False"
            assert not w.vault.requests

    play(scene)


def test_what_is_not_asked_for_is_not_sent() -> None:
    # OpenBao refuses a not_after that is empty.
    body = pki.request_body({"commonName": "web.test", "ttl": "1h"})
    assert not {"not_after", "format", "private_key_format"} & set(body)
    end = "2030-01-01T00:00:00Z"
    assert pki.request_body({"notAfter": end})["not_after"] == end


def test_paths() -> None:
    assert pki.issue_path({"mount": "pki", "role": "web"}) == "pki/issue/web"
    named = {"mount": "pki", "role": "web", "issuerRef": "root"}
    assert pki.issue_path(named) == "pki/issuer/root/web"
