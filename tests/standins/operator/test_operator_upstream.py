"""What upstream's operator does with inputs that the field meets, one by one.

Each was once otherwise here: silent where upstream says what is wrong, or content where
upstream refuses.
"""

from __future__ import annotations

from typing import Any

import pytest

from standins.common.kube import KubeError
from standins.operator import model
from standins.operator.leases import LEDGER
from standins.operator.model import Reason
from standins.operator.runtime import Operator
from tests.fakes.kube import MemoryKube
from tests.standins.operator.fakevault import FakeVault
from tests.standins.operator.world import APP, HOME, World, play, world

VSS, VDS, PKI = model.STATIC, model.DYNAMIC, model.PKI


def auth(w: World, name: str = "mine", namespace: str = APP, **spec: Any) -> None:
    base = {"vaultConnectionRef": f"{HOME}/default", "method": "kubernetes", "mount": "kubernetes"}
    w.make(model.AUTH, name, base | spec, namespace)


# -- an error that nobody sees -------------------------------------------------------------


@pytest.mark.parametrize("kind", [VSS, VDS, PKI])
def test_a_service_account_of_another_namespace_is_told(kind: str) -> None:
    async def scene() -> None:
        async with world() as w:
            auth(w, kubernetes={"role": "app", "serviceAccount": "other/x"})
            make = {VSS: w.static, VDS: w.dynamic, PKI: w.certificate}[kind]
            make("one", vaultAuthRef="mine")
            await w.run(kind, "one")
            text = w.events.text(Reason.VAULT_CLIENT_CONFIG_ERROR)
            assert 'ServiceAccount "other/x" not found' in text
            assert "Failed to get cacheKey" in w.events.text(Reason.UNRECOVERABLE)
            if kind == VSS:
                synced = w.condition(kind, "one", "SecretSynced")
                assert 'ServiceAccount "other/x" not found' in synced["message"]

    play(scene)


@pytest.mark.parametrize("kind", [VSS, VDS, PKI])
def test_a_missing_right_is_told(kind: str) -> None:
    """The API server refuses the look at the service account."""

    async def scene() -> None:
        async with world() as w:
            make = {VSS: w.static, VDS: w.dynamic, PKI: w.certificate}[kind]
            make("one")
            w.kube.failures["get", "ServiceAccount"] = (403, "forbidden: serviceaccounts")
            await w.run(kind, "one")
            assert "forbidden" in w.events.text(Reason.VAULT_CLIENT_CONFIG_ERROR)

    play(scene)


@pytest.mark.parametrize("kind", [VSS, VDS, PKI])
def test_a_destination_that_cannot_be_read_is_told(kind: str) -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            make = {VSS: w.static, VDS: w.dynamic, PKI: w.certificate}[kind]
            make("one", destination={"name": "other/x"})
            await w.run(kind, "one")
            text = w.events.text(Reason.SYNC_ERROR)
            assert """invalid resource name "other/x": [may not contain '/']""" in text
            assert w.condition(kind, "one", "SecretSynced")["status"] == "False"
            assert w.condition(kind, "one", "Ready")["status"] == "False"
            assert not w.vault.leases

    play(scene)


def test_a_ca_that_cannot_be_read_is_told() -> None:
    async def scene() -> None:
        async with world() as w:
            spec = {"address": "https://vault.test", "caCertSecretRef": "other/ca"}
            w.make(model.CONNECTION, "main", spec)
            await w.run(model.CONNECTION, "main")
            told = w.condition(model.CONNECTION, "main", "VaultClient")
            assert told["reason"] == Reason.VAULT_CLIENT_CONFIG_ERROR
            assert 'invalid resource name "other/ca"' in told["message"]
            checked = w.condition(model.CONNECTION, "main", "ResourceValidation")["message"]
            assert checked.endswith("\ninvalid VaultConnection apps/main")

    play(scene)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"caCertSecretRef": "none"}, 'secrets "none" not found'),
        ({"caCertSecretRef": "empty"}, '"ca.crt" not present in the CA secret "apps/empty"'),
        ({"caCertPath": "/a/../b"}, "invalid CA cert config: path contains traversal sequence"),
        ({"caCertPath": "/no/ca"}, 'failed to read CA cert file "/no/ca": open /no/ca: no such'),
        ({"caCertPath": "/a", "caCertSecretRef": "b"}, "are mutually exclusive"),
        ({"headers": {"x-vault-namespace": "a"}}, 'setting header "X-Vault-Namespace" on'),
    ],
)
def test_connections_that_cannot_be(spec: dict[str, Any], text: str) -> None:
    async def scene() -> None:
        async with world() as w:
            w.kube.add("Secret", APP, {"metadata": {"name": "empty"}, "data": {}})
            w.make(model.CONNECTION, "main", {"address": "https://vault.test", **spec})
            await w.run(model.CONNECTION, "main")
            assert text in w.condition(model.CONNECTION, "main", "VaultClient")["message"]
            assert text in w.events.text(Reason.VAULT_CLIENT_ERROR)
            assert w.status(model.CONNECTION, "main")["valid"] is False

    play(scene)


def test_an_object_without_spec_is_told() -> None:
    async def scene() -> None:
        async with world() as w:
            for kind in (VSS, VDS, PKI):
                w.make(kind, "bare", {})
                await w.run(kind, "bare")
                assert "may not be empty" in w.events.text(Reason.SYNC_ERROR)
                w.events.all.clear()

    play(scene)


def test_what_no_reconciler_expects_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with world() as w:
            w.static()

            async def denied(*_: Any) -> None:
                raise KubeError(403, "something is forbidden")

            async def broken(*_: Any) -> None:
                raise TypeError("c4n4ry")

            for work, text in ((denied, "something is forbidden"), (broken, "TypeError")):
                controller = Operator._controller(w.operator, VSS, work)
                with pytest.raises((KubeError, TypeError)):
                    await controller._reconcile(model.Key(VSS, APP, "config"))
                assert text in w.events.text(Reason.K8S_CLIENT_ERROR)
                assert "c4n4ry" not in w.events.text(Reason.K8S_CLIENT_ERROR)

    play(scene)


def test_a_conflict_is_no_news() -> None:
    async def scene() -> None:
        async with world() as w:
            obj = w.static()
            key = model.key_of(VSS, obj)
            w.context.failed(key, KubeError(409, "the object has been modified"))
            assert not w.events.all

    play(scene)


def test_a_restart_target_that_is_not_there_is_told_as_upstream_does() -> None:
    async def scene() -> None:
        async with world() as w:
            w.dynamic(rolloutRestartTargets=[{"kind": "Deployment", "name": "a/b"}])
            await w.run(VDS, "db")
            text = w.events.text(Reason.ROLLOUT_RESTART_FAILED)
            assert text == (
                'Rollout restart failed for target v1beta1.RolloutRestartTarget{Kind:"Deployment", '
                'Name:"a/b"}: err=failed to Get object for objKey apps/a/b, '
                'err=Deployment.apps "a/b" not found'
            )
            told = w.condition(VDS, "db", "RolloutRestart")
            assert told["message"].startswith("Rollout restart trigger failed: failed to Get")

    play(scene)


def test_an_answer_without_a_body_is_no_secret() -> None:
    async def scene() -> None:
        async with world() as w:
            w.dynamic(mount="sys", path="leases/revoke", params={"lease_id": "none"})
            await w.run(VDS, "db")
            text = w.events.text(Reason.SYNC_ERROR)
            assert 'empty response from Vault, path="sys/leases/revoke"' in text
            assert ("Secret", APP, "db") not in w.kube.objects

    play(scene)


# -- VaultAuth and VaultAuthGlobal ---------------------------------------------------------


def test_the_default_auth_finds_its_connection() -> None:
    async def scene() -> None:
        async with world() as w:
            w.kube.edit(model.AUTH, HOME, "default", {"spec": {"vaultConnectionRef": None}})
            await w.run(model.AUTH, "default", HOME)
            assert w.obj(model.AUTH, "default", HOME)["status"]["valid"] is True
            auth(w, "second", HOME, vaultConnectionRef="", kubernetes={})
            await w.run(model.AUTH, "second", HOME)
            status = w.obj(model.AUTH, "second", HOME)["status"]
            assert status["error"] == (
                f'vaultConnectionRef must be set on resources in the "{HOME}" namespace'
            )
            w.vault.put("app", {"v": "one"})
            w.static()
            await w.run(VSS, "config")
            assert w.secret("config")["v"] == "one"

    play(scene)


@pytest.mark.parametrize(
    ("own", "shared", "error"),
    [
        ({"role": "app", "tokenExpirationSeconds": 600}, {"serviceAccount": "app"}, ""),
        ({"serviceAccount": "app"}, {"tokenExpirationSeconds": 1200}, "empty role"),
        ({"role": "app"}, {"tokenExpirationSeconds": 1200}, "empty serviceAccount"),
    ],
)
def test_the_merged_method_is_validated(
    own: dict[str, Any], shared: dict[str, Any], error: str
) -> None:
    async def scene() -> None:
        async with world() as w:
            w.make(model.AUTH_GLOBAL, "default", {"kubernetes": shared}, HOME)
            auth(w, kubernetes=own, vaultAuthGlobalRef={"allowDefault": True})
            await w.run(model.AUTH, "mine")
            status = w.status(model.AUTH, "mine")
            assert status["valid"] is not bool(error)
            assert status["error"] == (f"invalid merge: {error}" if error else "")
            told = w.condition(model.AUTH, "mine", "Available")
            assert told["status"] == ("False" if error else "True")

    play(scene)


def test_the_default_of_the_auths_own_kind_wins() -> None:
    """The API server writes 600 into a VaultAuth that has the block: it is not empty any more."""

    async def scene() -> None:
        async with world() as w:
            shared = {"serviceAccount": "app", "role": "app", "tokenExpirationSeconds": 1200}
            w.make(model.AUTH_GLOBAL, "default", {"kubernetes": shared}, HOME)
            ref = {"allowDefault": True}
            own = {"role": "own", "tokenExpirationSeconds": 600}
            auth(w, "block", kubernetes=own, vaultAuthGlobalRef=ref)
            auth(w, "none", vaultAuthGlobalRef=ref)
            found = {}
            for name in ("block", "none"):
                merged = w.context.resolver.merged(w.obj(model.AUTH, name))[0]
                found[name] = merged["spec"]["kubernetes"]["tokenExpirationSeconds"]
            assert found == {"block": 600, "none": 1200}

    play(scene)


# -- the destination ----------------------------------------------------------------------


@pytest.mark.parametrize("change", [{}, {"type": "example.org/other"}])
def test_what_others_set_on_the_destination_stays(change: dict[str, str]) -> None:
    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            w.static(destination={"labels": {"team": "red"}})
            await w.run(VSS, "config")
            edit = {"metadata": {"finalizers": ["backup/keep"], "labels": {"stray": "x"}}}
            w.kube.edit("Secret", APP, "config", edit)
            if change:
                # The old Secret goes for good here; with the finalizer it would stay.
                w.kube.edit("Secret", APP, "config", {"metadata": {"finalizers": None}})
                w.kube.edit(VSS, APP, "config", {"spec": {"destination": change}})
            w.vault.put("app", {"v": "two"})
            await w.run(VSS, "config")
            secret = w.obj("Secret", "config")
            assert w.secret("config")["v"] == "two"
            assert secret["metadata"].get("finalizers") == (None if change else ["backup/keep"])
            assert secret["type"] == change.get("type", "Opaque")
            assert secret["metadata"]["labels"]["team"] == "red"
            assert "stray" not in secret["metadata"]["labels"], "labels are the operator's"

    play(scene)


# -- credentials that Vault rotates -------------------------------------------------------


def test_a_static_secret_that_was_edited_is_repaired() -> None:
    async def scene() -> None:
        async with world(FakeVault(clock=1_800_000_010)) as w:
            w.vault.database.rotated = 1_800_000_000
            w.dynamic(path="static-creds/app", allowStaticCreds=True)
            await w.run(VDS, "db")
            good = w.secret("db")["password"]
            w.kube.edit("Secret", APP, "db", {"data": {"password": "eHh4"}})
            await w.run(VDS, "db")
            assert w.secret("db")["password"] == good

    play(scene)


# -- deletion -----------------------------------------------------------------------------


def test_an_answer_after_the_deletion_brings_nothing_back() -> None:
    """The watch's DELETED overtakes the answer of the write that removed the finalizer."""

    async def scene() -> None:
        async with world(grace=0) as w:
            names = [f"db{number}" for number in range(5)]
            for name in names:
                w.dynamic(name)
                await w.run(VDS, name)
            for name in names:
                w.kube.remove(VDS, APP, name)
                await w.run(VDS, name)
            assert not list(w.context.store.all(VDS))
            assert not w.vault.leases
            w.context.clients.prune(f"{HOME}/default")
            for _ in range(2):
                await w.operator.leases.sweep(w.operator.client_for)
            assert not w.obj("Secret", LEDGER, HOME)["data"]
            assert not w.vault.tokens

    play(scene)


def test_a_new_object_of_the_same_name_is_another() -> None:
    async def scene() -> None:
        async with world(grace=0) as w:
            old = w.dynamic()
            await w.run(VDS, "db")
            w.kube.remove(VDS, APP, "db")
            await w.run(VDS, "db")
            fresh = w.dynamic()
            # An old answer again, later than everything.
            late = {**old, "metadata": {**old["metadata"], "resourceVersion": "9999"}}
            w.context.store.put(VDS, late)
            found = w.context.store.get(VDS, APP, "db")
            assert found is not None
            assert model.uid(found) == model.uid(fresh)

    play(scene)


def test_memory_kube_tells_before_it_answers() -> None:
    """The tests above lean on this order."""
    kube = MemoryKube(model.RESOURCES)
    heard: list[str] = []
    kube.watchers.append(lambda kind, change, obj: heard.append(change))
    kube.add("Secret", APP, {"metadata": {"name": "x", "finalizers": ["a/b"]}})
    kube.remove("Secret", APP, "x")
    kube.edit("Secret", APP, "x", {"metadata": {"finalizers": None}})
    assert heard == ["ADDED", "MODIFIED", "DELETED"]
