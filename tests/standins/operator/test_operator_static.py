"""VaultStaticSecret: what is copied, when it is written, who is restarted."""

from __future__ import annotations

import base64

import pytest

from standins.operator import model, timing
from standins.operator.model import Reason
from tests.standins.operator.world import APP, HOME, World, parsed, play, world

VSS = model.STATIC


def test_a_kv2_secret_arrives_whole() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"user": "ada", "port": 5432, "nested": {"b": 1, "a": "<x>"}})
            w.static()
            after = await w.run(VSS, "config")
            assert after is not None
            assert 48 <= after <= 54
            data = w.secret("config")
            assert data["user"] == "ada"
            assert data["port"] == "5432"
            assert data["nested"] == '{"a":"\\u003cx\\u003e","b":1}'
            raw = parsed(data["_raw"])
            assert raw["data"]["user"] == "ada"
            assert raw["metadata"]["version"] == 1
            secret = w.obj("Secret", "config")
            owner = w.obj(VSS, "config")
            assert secret["type"] == "Opaque"
            assert secret["metadata"]["ownerReferences"] == [model.owner_reference(owner)]
            labels = secret["metadata"]["labels"]
            assert labels == model.OWNER_LABELS | {model.OWNER_UID_LABEL: model.uid(owner)}
            status = w.status(VSS, "config")
            assert status["lastGeneration"] == 1
            assert len(base64.b64decode(status["secretMAC"])) == 32
            assert w.condition(VSS, "config", "SecretSynced")["reason"] == "Synced"
            assert w.condition(VSS, "config", "Healthy")["status"] == "True"
            assert owner["metadata"]["finalizers"] == [
                "vaultstaticsecret.secrets.hashicorp.com/finalizer"
            ]
            assert w.events.reasons("config") == [Reason.SYNCED]

    play(scene)


def test_a_path_is_no_query_and_is_cleaned() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("q", {"pin": "first"})
            w.vault.put("q", {"pin": "second"})
            w.vault.put("q?version=1", {"pin": "its own"})
            w.static(path="q?version=1")
            await w.run(VSS, "config")
            assert w.secret("config")["pin"] == "its own"
            w.static("other", mount="kv/", path="/x/..//q/", destination={"name": "other"})
            await w.run(VSS, "other")
            assert w.secret("other")["pin"] == "second"
            w.static("none", path="none?version=1", destination={"name": "none"})
            await w.run(VSS, "none")
            text = 'empty response from Vault, path="kv/data/none?version=1"'
            assert text in w.events.text(Reason.VAULT_CLIENT_ERROR)

    play(scene)


@pytest.mark.parametrize("mount", ["kubernetes/", "/kubernetes", "x/..//kubernetes"])
def test_the_mount_of_a_login_is_cleaned(mount: str) -> None:
    async def scene() -> None:
        async with world() as w:
            spec = w.obj(model.AUTH, "default", HOME)["spec"]
            w.kube.edit(model.AUTH, HOME, "default", {"spec": {**spec, "mount": mount}})
            w.vault.put("app", {"user": "ada"})
            w.static()
            await w.run(VSS, "config")
            assert w.secret("config")["user"] == "ada"
            logins = [path for _, path in w.vault.requests if path.endswith("login")]
            assert logins == ["auth/kubernetes/login"]

    play(scene)


def test_a_kv1_secret_arrives() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.write("kv1/app", {"user": "ada"})
            w.static(mount="kv1", type="kv-v1")
            await w.run(VSS, "config")
            assert w.secret("config") == {"user": "ada", "_raw": '{"user":"ada"}'}

    play(scene)


def test_a_pinned_version_stays() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.static(version=1)
            await w.run(VSS, "config")
            w.vault.put("app", {"v": "two"})
            await w.run(VSS, "config")
            assert w.secret("config")["v"] == "one"

    play(scene)


def test_nothing_new_writes_nothing() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.static()
            await w.run(VSS, "config")
            w.kube.calls.clear()
            w.vault.calls.clear()
            await w.run(VSS, "config")
            assert w.kube.calls == [("get", "ServiceAccount", "app"), ("get", "Secret", "config")]
            assert w.vault.requests == [("GET", "kv/data/app")]

    play(scene)


def test_new_data_is_written_and_restarts_targets() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.make("Deployment", "web", {"template": {}})
            w.static(rolloutRestartTargets=[{"kind": "Deployment", "name": "web"}])
            await w.run(VSS, "config")
            template = w.obj("Deployment", "web")["spec"]["template"]
            assert template == {}, "the first sync restarts nobody"
            assert not w.condition(VSS, "config", "RolloutRestart")
            w.vault.put("app", {"v": "two"})
            await w.run(VSS, "config")
            assert w.secret("config")["v"] == "two"
            annotations = w.obj("Deployment", "web")["spec"]["template"]["metadata"]["annotations"]
            assert model.RESTARTED_AT in annotations
            restart = w.condition(VSS, "config", "RolloutRestart")
            assert (restart["status"], restart["reason"]) == ("True", "RolloutRestartTriggered")

    play(scene)


@pytest.mark.parametrize("change", [{"v": "aGFuZA=="}, {"v": None}, {"extra": "eA=="}])
def test_drift_is_repaired_and_the_mac_stays(change: dict[str, str | None]) -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.static()
            await w.run(VSS, "config")
            before, mac = w.secret("config"), w.status(VSS, "config")["secretMAC"]
            w.kube.edit("Secret", APP, "config", {"data": change})
            assert w.secret("config") != before
            await w.run(VSS, "config")
            assert w.secret("config") == before
            assert w.status(VSS, "config")["secretMAC"] == mac

    play(scene)


def test_a_lost_destination_runs_its_owner_at_once() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.static()
            await w.run(VSS, "config")
            w.drain()
            w.kube.remove("Secret", APP, "config")
            assert w.queued(VSS, "config")
            await w.run(VSS, "config")
            assert w.secret("config")["v"] == "one"

    play(scene)


def test_without_hmac_every_pass_writes_and_nothing_is_polled() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.make("Deployment", "web", {"template": {}})
            w.static(
                hmacSecretData=False, rolloutRestartTargets=[{"kind": "Deployment", "name": "web"}]
            )
            assert await w.run(VSS, "config") is None
            w.vault.put("app", {"v": "two"})
            assert await w.run(VSS, "config") is None
            assert w.secret("config")["v"] == "two"
            assert "secretMAC" not in w.status(VSS, "config")
            assert w.obj("Deployment", "web")["spec"]["template"] == {}

    play(scene)


def test_existing_destination_gets_data_only() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.static(destination={"create": False}, refreshAfter="10s")
            w.events.all.clear()
            assert await w.run(VSS, "config") == timing.ERROR_RETRY
            text = w.events.text(Reason.K8S_CLIENT_ERROR)
            assert text.startswith('Kubernetes secret "config" does not exist yet')
            assert not w.status(VSS, "config")
            mine = {
                "metadata": {"name": "config", "labels": {"team": "red"}, "finalizers": ["a/b"]},
                "type": "Opaque",
                "data": {"old": "eA=="},
            }
            w.kube.add("Secret", APP, mine)
            after = await w.run(VSS, "config")
            assert after is not None
            assert 8 <= after <= 9
            assert set(w.secret("config")) == {"v", "_raw"}
            meta = w.obj("Secret", "config")["metadata"]
            assert meta["labels"] == {"team": "red"}
            assert "ownerReferences" not in meta
            assert meta["finalizers"] == ["a/b"]

    play(scene)


def test_errors_of_vault_back_off_and_show() -> None:
    async def scene() -> None:
        async with world() as w:
            w.static(path="nothing/here")
            waits = [await w.run(VSS, "config") for _ in range(8)]
            text = w.events.text(Reason.VAULT_CLIENT_ERROR)
            assert "Failed to read Vault secret" in text
            assert 'empty response from Vault, path="kv/data/nothing/here"' in text
            assert w.condition(VSS, "config", "SecretSynced")["status"] == "False"
            assert w.condition(VSS, "config", "Healthy")["reason"] == "Unhealthy"
            assert w.status(VSS, "config")["lastGeneration"] == 0
            assert waits[0] is not None
            assert waits[-1] is not None
            assert 2.5 <= waits[0] <= 7.5
            assert 25 <= waits[-1] <= 60
            w.vault.put("nothing/here", {"v": "now"})
            await w.run(VSS, "config")
            assert w.condition(VSS, "config", "Healthy")["reason"] == "Healthy"

    play(scene)


def test_a_refused_namespace_is_an_event() -> None:
    async def scene() -> None:
        async with world() as w:
            w.make(model.AUTH, "team", {"method": "kubernetes", "mount": "kubernetes"}, "other")
            w.static(vaultAuthRef="other/team")
            await w.run(VSS, "config")
            text = w.events.text(Reason.VAULT_CLIENT_CONFIG_ERROR)
            assert text == (
                'Failed to get Vault auth login: target namespace "apps" is not allowed by '
                "kind=VaultAuth obj=other/team, allowedNamespaces=[]"
            )

    play(scene)


def test_a_foreign_secret_is_not_taken_unless_asked() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.kube.add("Secret", APP, {"metadata": {"name": "config"}, "data": {"mine": "eA=="}})
            w.static()
            await w.run(VSS, "config")
            text = w.events.text(Reason.SYNC_ERROR)
            assert "not the owner of the destination Secret apps/config" in text
            assert w.secret("config") == {"mine": "x"}
            w.kube.edit(VSS, APP, "config", {"spec": {"destination": {"overwrite": True}}})
            await w.run(VSS, "config")
            assert w.secret("config")["v"] == "one"
            w.static("second", destination={"name": "config", "create": True, "overwrite": True})
            await w.run(VSS, "second")
            assert "invalid ownerReferences" in w.events.text(Reason.SYNC_ERROR)

    play(scene)


def test_deletion_releases_the_object() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.static()
            await w.run(VSS, "config")
            w.kube.remove(VSS, APP, "config")
            assert (VSS, APP, "config") in w.kube.objects
            await w.run(VSS, "config")
            assert (VSS, APP, "config") not in w.kube.objects

    play(scene)


def test_a_deleted_version_empties_the_values() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.static()
            await w.run(VSS, "config")
            w.vault.delete_latest("app")
            await w.run(VSS, "config")
            assert set(w.secret("config")) == {"_raw"}

    play(scene)


async def _one_per_namespace(w: World) -> None:
    for namespace in ("red", "blue"):
        w.make("ServiceAccount", "app", {}, namespace)
        spec = {
            "mount": "kv",
            "type": "kv-v2",
            "path": "app",
            "destination": {"name": "config", "create": True},
        }
        w.make(VSS, "config", spec, namespace)
        await w.run(VSS, "config", namespace)


def test_each_namespace_logs_in_as_its_own_service_account() -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            await _one_per_namespace(w)
            logins = [body for path, body in w.vault.bodies if path.endswith("/login")]
            assert [body["jwt"] for body in logins] == ["sa:red:app:", "sa:blue:app:"]
            assert HOME not in str(logins)

    play(scene)
