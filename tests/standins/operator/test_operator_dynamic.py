"""VaultDynamicSecret: leases are renewed, replaced and ended; none is left behind."""

from __future__ import annotations

import time

import pytest

from standins.common.kube import KubeError
from standins.operator import model
from standins.operator.model import Reason
from tests.standins.operator.fakevault import FakeVault
from tests.standins.operator.world import APP, HOME, World, play, world

VDS = model.DYNAMIC


async def first(w: World) -> str:
    """One synced secret `db`; its lease."""
    w.dynamic()
    await w.run(VDS, "db")
    return str(w.status(VDS, "db")["secretLease"]["id"])


def test_credentials_arrive_and_the_status_tells_all() -> None:
    async def scene() -> None:
        async with world() as w:
            w.make("Deployment", "web", {"template": {}})
            w.dynamic(rolloutRestartTargets=[{"kind": "Deployment", "name": "web"}])
            after = await w.run(VDS, "db")
            assert after is not None
            assert 0.67 * 60 <= after <= 0.77 * 60
            assert set(w.secret("db")) == {"username", "password", "_raw"}
            status = w.status(VDS, "db")
            assert status["secretLease"]["duration"] == 60
            assert status["secretLease"]["renewable"] is True
            assert status["secretLease"]["id"] in w.vault.leases
            assert status["lastGeneration"] == 1
            assert status["lastRuntimePodUID"] == "pod-1"
            assert abs(status["lastRenewalTime"] - time.time()) < 5
            assert w.events.reasons("db")[0] == Reason.SYNCED
            assert 'sync_reason="InitialSync"' in w.events.text(Reason.SYNCED)
            # Upstream's quirk: the first credentials restart their users, too.
            assert w.obj("Deployment", "web")["spec"]["template"]["metadata"]["annotations"]

    play(scene)


def test_a_lease_is_renewed_until_vault_cuts_it_short() -> None:
    async def scene() -> None:
        async with world() as w:
            lease = await first(w)
            secret = w.secret("db")
            w.vault.clock += 45
            await w.run(VDS, "db")
            assert w.status(VDS, "db")["secretLease"]["id"] == lease
            assert w.secret("db") == secret
            assert w.condition(VDS, "db", "LeaseRenewal")["message"] == "Successfully renewed lease"
            assert ("sys/leases/renew", {"lease_id": lease, "increment": 60}) in w.vault.bodies
            w.vault.clock += 45
            await w.run(VDS, "db")
            w.vault.clock += 45
            await w.run(VDS, "db")
            status = w.status(VDS, "db")
            assert status["secretLease"]["id"] != lease
            assert w.secret("db") != secret
            assert "truncated from 60s to 45s" in w.events.text(Reason.LEASE_RENEWAL)
            assert Reason.ROTATED in w.events.reasons("db")
            renewal = w.condition(VDS, "db", "LeaseRenewal")
            assert (renewal["status"], renewal["reason"]) == ("False", "SecretLeaseRenewalError")

    play(scene)


def test_a_lease_revoked_in_vault_is_replaced() -> None:
    async def scene() -> None:
        async with world() as w:
            lease = await first(w)
            del w.vault.leases[lease]
            await w.run(VDS, "db")
            assert w.status(VDS, "db")["secretLease"]["id"] in w.vault.leases
            assert Reason.LEASE_RENEWAL_ERROR not in w.events.reasons("db")

    play(scene)


def test_a_replaced_lease_ends_after_its_grace() -> None:
    async def scene() -> None:
        async with world(grace=0) as w:
            lease = await first(w)
            w.kube.edit(VDS, APP, "db", {"spec": {"renewalPercent": 50}})
            await w.run(VDS, "db")
            assert lease in w.vault.leases, "its users have not restarted yet"
            await w.operator.leases.sweep(w.operator.client_for)
            assert set(w.vault.leases) == {w.status(VDS, "db")["secretLease"]["id"]}

    play(scene)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spec": {"path": "creds/other"}}, "ResourceUpdated"),
        ({"metadata": {"labels": {"a": "b"}}}, "ForceSync"),
        ({"metadata": {"annotations": {"a": "b"}}}, "ForceSync"),
    ],
)
def test_changes_that_ask_for_new_credentials(change: model.Obj, reason: str) -> None:
    async def scene() -> None:
        async with world() as w:
            lease = await first(w)
            w.drain()
            w.kube.edit(VDS, APP, "db", change)
            assert w.queued(VDS, "db")
            await w.run(VDS, "db")
            assert w.status(VDS, "db")["secretLease"]["id"] != lease
            assert f'sync_reason="{reason}"' in w.events.text(Reason.ROTATED)
            w.drain()
            w.kube.edit(VDS, APP, "db", {"status": {"x": 1}})
            assert not w.queued(VDS, "db"), "a status change runs nothing"

    play(scene)


def test_lost_secret_gets_new_credentials() -> None:
    async def scene() -> None:
        async with world() as w:
            lease = await first(w)
            w.kube.remove("Secret", APP, "db")
            await w.run(VDS, "db")
            assert w.status(VDS, "db")["secretLease"]["id"] != lease
            assert "InexistentDestination" in w.events.text(Reason.ROTATED)

    play(scene)


def test_deletion_revokes_whatever_spec_revoke_says() -> None:
    async def scene() -> None:
        async with world(grace=100) as w:
            await first(w)
            w.kube.edit(VDS, APP, "db", {"spec": {"revoke": False}})
            await w.run(VDS, "db")
            assert len(w.vault.leases) == 2, "the replaced one has its grace"
            w.kube.remove(VDS, APP, "db")
            await w.run(VDS, "db")
            assert not w.vault.leases
            assert Reason.LEASE_REVOKE in w.events.reasons("db")
            assert (VDS, APP, "db") not in w.kube.objects

    play(scene)


@pytest.mark.parametrize("gone", ["service account", "auth", "auth, seen by the operator"])
def test_deletion_revokes_although_the_login_is_gone(gone: str) -> None:
    """A namespace, or a lab's manifests, are deleted in no order that helps."""

    async def scene() -> None:
        async with world(grace=100) as w:
            await first(w)
            if gone == "service account":
                w.kube.remove("ServiceAccount", APP, "app")
            else:
                w.kube.edit(model.AUTH, HOME, "default", {"metadata": {"finalizers": ["x"]}})
                w.kube.remove(model.AUTH, HOME, "default")
            if gone.endswith("operator"):
                await w.run(model.AUTH, "default", HOME)
            w.kube.edit(model.AUTH, HOME, "default", {"metadata": {"finalizers": []}})
            w.kube.remove(VDS, APP, "db")
            await w.run(VDS, "db")
            assert not w.vault.leases
            assert (VDS, APP, "db") not in w.kube.objects

    play(scene)


@pytest.mark.parametrize("trouble", ["denied", "sealed", "bad reference"])
def test_deletion_is_never_stuck(trouble: str) -> None:
    async def scene() -> None:
        async with world() as w:
            await first(w)
            if trouble == "denied":
                w.vault.denied.add("sys/leases/revoke")
            elif trouble == "sealed":
                w.vault.sealed = True
            else:
                await w.operator.close()
                w = World(w.kube, w.vault, "pod-2", 0)
                await w.operator.prime()
                w.kube.edit(VDS, APP, "db", {"spec": {"vaultAuthRef": "a/b/c"}})
            w.kube.remove(VDS, APP, "db")
            await w.run(VDS, "db")
            assert (VDS, APP, "db") not in w.kube.objects
            assert w.events.text(Reason.LEASE_REVOKE).startswith("Failed to revoke lease")

    play(scene)


def test_a_refusing_destination_makes_no_lease() -> None:
    async def scene() -> None:
        async with world() as w:
            w.kube.add("Secret", APP, {"metadata": {"name": "db"}})
            w.dynamic()
            for _ in range(3):
                await w.run(VDS, "db")
            assert ("GET", "database/creds/app") not in w.vault.requests
            assert "not the owner" in w.events.text(Reason.SYNC_ERROR)

    play(scene)


def test_a_secret_that_cannot_be_written_gives_its_lease_back() -> None:
    async def scene() -> None:
        async with world() as w:
            w.kube.failures["create", "Secret"] = (500, "etcd is away")
            w.kube.add("Secret", HOME, {"metadata": {"name": "vso-token-ledger"}, "data": {}})
            w.dynamic()
            await w.run(VDS, "db")
            assert not w.vault.leases
            await w.run(VDS, "db")
            assert len(w.vault.leases) == 1

    play(scene)


def test_a_status_that_cannot_be_written_costs_one_rotation_and_no_lease() -> None:
    async def scene() -> None:
        async with world() as w:
            w.dynamic()
            w.kube.failures["patch-status", VDS] = (500, "etcd is away")
            with pytest.raises(KubeError):
                await w.run(VDS, "db")
            await w.run(VDS, "db")
            await w.operator.leases.sweep(w.operator.client_for)
            assert set(w.vault.leases) == {w.status(VDS, "db")["secretLease"]["id"]}

    play(scene)


def test_a_new_token_replaces_all_credentials_and_the_old_token_ends() -> None:
    async def scene() -> None:
        async with world(grace=0) as w:
            for name in ("one", "two"):
                w.dynamic(name)
                await w.run(VDS, name)
            old = next(iter(w.vault.tokens))
            w.drain()
            # Vault does not know the token any more: 403, a look at itself, a new login.
            del w.vault.tokens[old]
            w.kube.edit(VDS, APP, "one", {"spec": {"renewalPercent": 50}})
            await w.run(VDS, "one")
            assert w.condition(VDS, "one", "SecretSynced")["status"] == "False"
            await w.run(VDS, "one")
            assert w.queued(VDS, "two"), "its lease went with the token"
            await w.run(VDS, "two")
            new = {lease["token"] for lease in w.vault.leases.values() if lease["token"] != old}
            assert len(new) == 1
            assert w.operator.context.clients.logins == 2

    play(scene)


def test_a_denied_path_does_not_cost_the_others_their_token() -> None:
    async def scene() -> None:
        async with world() as w:
            await first(w)
            w.vault.denied.add("database/creds/secret")
            w.dynamic("bad", path="creds/secret")
            for _ in range(3):
                await w.run(VDS, "bad")
            assert w.operator.context.clients.logins == 1
            assert "Code: 403" in w.events.text(Reason.SYNC_ERROR)

    play(scene)


def test_params_make_a_put_and_refresh_after_stands_in_for_a_lease() -> None:
    async def scene() -> None:
        async with world() as w:
            w.dynamic(
                "plain", mount="plain", path="config", params={"question": "q"}, refreshAfter="100s"
            )
            after = await w.run(VDS, "plain")
            assert ("PUT", "plain/config") in w.vault.requests
            assert w.secret("plain")["answer"] == "q"
            assert after is not None
            assert 67 <= after <= 77

    play(scene)


def test_static_credentials_follow_vaults_rotation() -> None:
    async def scene() -> None:
        now = time.time()
        vault = FakeVault(clock=now)
        vault.database.rotated = now - 20
        async with world(vault) as w:
            w.make("Deployment", "web", {"template": {}})
            w.dynamic(
                "app",
                path="static-creds/app",
                allowStaticCreds=True,
                rolloutRestartTargets=[{"kind": "Deployment", "name": "web"}],
            )
            after = await w.run(VDS, "app")
            assert after is not None
            assert 39 <= after <= 42
            meta = w.status(VDS, "app")["staticCredsMetaData"]
            assert meta["rotationPeriod"] == 60
            assert meta["lastVaultRotation"] == int(now - 20)
            assert w.status(VDS, "app")["secretLease"]["id"] == ""
            password = w.secret("app")["password"]
            version = w.obj("Secret", "app")["metadata"]["resourceVersion"]
            await w.run(VDS, "app")
            assert w.obj("Secret", "app")["metadata"]["resourceVersion"] == version
            vault.database.rotated += 60
            vault.clock += 50
            await w.run(VDS, "app")
            assert w.secret("app")["password"] != password

    play(scene)
