"""Taking an inventory: what belongs to a lab, and that no secret gets into it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.base.errors import EnvironmentLacks
from harness.base.labels import LAB_LABEL
from harness.base.redact import register
from harness.clients.vault import VaultUnreachable
from harness.snapshot import take as inventory
from harness.snapshot.kv import version_state
from harness.snapshot.manifest import clean
from tests.fakes.lab import World, make_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def taken(world: World, number: str = "01") -> dict[str, inventory.Item]:
    return inventory.take(world.lab(number)).items


# -- Vault ----------------------------------------------------------------------------------


def test_mounts_belong_to_a_lab_by_their_name(world: World) -> None:
    for name in ("lab01-kv/", "lab02-kv/", "lab01/", "secret/", "lab011-kv/"):
        world.vault.mount(name, "database")
    assert set(taken(world)) == {"sys/mounts/lab01-kv/"}


def test_what_lies_in_a_mount_is_found(world: World) -> None:
    world.vault.mount("lab01-db/", "database")
    world.vault.put("lab01-db/roles/app", db_name="pg")
    world.vault.put("lab01-db/static-roles/app", db_name="pg", last_vault_rotation="yesterday")
    world.vault.enable("lab01-jwt/", "jwt")
    world.vault.put("auth/lab01-jwt/config", bound_issuer="x")
    found = taken(world)
    assert found["lab01-db/roles/app"].copy == {"db_name": "pg"}
    assert found["lab01-db/static-roles/app"].copy == {"db_name": "pg"}
    assert found["auth/lab01-jwt/config"].parent == "sys/auth/lab01-jwt/"


def test_an_unknown_engine_is_known_as_a_mount(world: World) -> None:
    world.vault.mount("lab01-x/", "rabbitmq")
    assert [item.kind for item in taken(world).values()] == ["mount"]


def test_folders_of_secrets_are_opened(world: World) -> None:
    world.vault.mount("lab01-kv/")
    world.vault.mount("lab01-kv2/", version="2")
    world.vault.put("lab01-kv/a/b/c", x="y")
    world.vault.put("lab01-kv/a b?#", x="y")
    world.vault.put("lab01-kv2/data/d/e", data={"x": "y"})
    assert {i.name for i in taken(world).values() if i.noun == "secret"} == {
        "lab01-kv/a/b/c",
        "lab01-kv/a b?#",
        "lab01-kv2/d/e",
    }


def test_versions_of_a_secret_are_told_apart(world: World) -> None:
    world.vault.mount("lab01-kv/", version="2")
    for value in ("a", "b", "c"):
        world.vault.put("lab01-kv/data/app", data={"value": value})
    world.vault.put("lab01-kv/delete/app", versions=[2])
    world.vault.put("lab01-kv/destroy/app", versions=[3])
    copy = taken(world)["lab01-kv/metadata/app"].copy
    assert [v["state"] for v in copy["versions"].values()] == ["alive", "deleted", "destroyed"]


@pytest.mark.parametrize(
    ("entry", "expires", "state"),
    [
        ({"destroyed": True, "deletion_time": "x"}, False, "destroyed"),
        ({"destroyed": False, "deletion_time": ""}, False, "alive"),
        ({"destroyed": False, "deletion_time": "2026-01-01T00:00:00Z"}, False, "deleted"),
        ({"destroyed": False, "deletion_time": "2026-01-01T00:00:00Z"}, True, "expiring"),
    ],
)
def test_states_of_a_version(entry: dict[str, object], expires: bool, state: str) -> None:
    assert version_state(entry, expires) == state


def test_entities_and_leases(world: World) -> None:
    world.vault.mount("lab01-db/", "database")
    world.vault.leases = {"lab01-db/creds/app/1": {}, "lab02-db/creds/app/2": {}}
    world.vault.entities = {
        "ours": {"name": "e1", "aliases": [{"id": "a", "mount_path": "auth/lab01-jwt/"}]},
        "theirs": {"name": "e2", "aliases": [{"id": "b", "mount_path": "auth/lab02-jwt/"}]},
        "shared": {
            "name": "e3",
            "aliases": [
                {"id": "c", "mount_path": "auth/lab01-jwt/"},
                {"id": "d", "mount_path": "auth/lab02-jwt/"},
            ],
        },
        "plain": {"name": "e4", "aliases": None},
    }
    assert {item.path for item in taken(world).values() if item.ephemeral} == {
        "sys/leases/lookup/lab01-db/creds/app/1",
        "identity/entity/id/ours",
        "identity/entity-alias/id/c",
    }


def test_no_secret_is_in_an_inventory_and_none_is_lost(world: World) -> None:
    register("hidden-in-a-policy")
    world.vault.mount("lab01-kv/")
    world.vault.mount("lab01-kv2/", version="2")
    world.vault.put("lab01-kv/app", password="value-one")
    world.vault.put("lab01-kv2/data/app", data={"password": "value-two"})
    world.vault.put("sys/policies/acl/lab01-p", policy="# hidden-in-a-policy")
    world.cluster.put("Secret", "s", "lab01", data={"password": "dmFsdWUtdGhyZWU="})
    text = json.dumps(inventory.take(world.lab()).to_json())
    secrets = ("value-one", "value-two", "hidden-in-a-policy", "dmFsdWUtdGhyZWU=", "root-token")
    assert [secret for secret in secrets if secret in text] == []
    kept = json.dumps({k: v for k, v in world.vault.documents.items() if "cubbyhole" in k})
    assert [secret for secret in secrets[:4] if secret not in kept] == []


def test_a_copy_is_written_once(world: World) -> None:
    world.vault.mount("lab01-kv/")
    world.vault.put("lab01-kv/app", password="value-one")
    inventory.take(world.lab())
    world.vault.calls.clear()
    inventory.take(world.lab())
    assert [call for call in world.vault.calls if call.startswith("POST cubbyhole")] == []


def test_a_version_is_read_once_and_known_when_it_is_deleted(world: World) -> None:
    world.vault.mount("lab01-kv/", version="2")
    world.vault.put("lab01-kv/data/app", data={"password": "value-one"})
    first = taken(world)["lab01-kv/metadata/app"].copy["versions"]["1"]
    world.vault.put("lab01-kv/delete/app", versions=[1])
    world.vault.calls.clear()
    second = taken(world)["lab01-kv/metadata/app"].copy["versions"]["1"]
    assert (second["state"], second["sum"]) == ("deleted", first["sum"])
    assert "GET lab01-kv/data/app" not in world.vault.calls


def test_hmacs_of_two_environments_differ(world: World) -> None:
    world.vault.mount("lab01-kv/")
    one, other = (inventory.take(world.lab(root=t)) for t in ("token-number-1", "token-number-2"))
    assert one.environment != other.environment
    assert one.items["sys/mounts/lab01-kv/"].sum != other.items["sys/mounts/lab01-kv/"].sum


@pytest.mark.parametrize("trouble", ["sealed", "down"])
def test_a_vault_that_cannot_answer_is_one_sentence(world: World, trouble: str) -> None:
    setattr(world.vault, trouble, True)
    with pytest.raises((EnvironmentLacks, VaultUnreachable), match=r"Vault (is sealed|does not)"):
        inventory.take(world.lab())


# -- the cluster ----------------------------------------------------------------------------


def test_objects_belong_to_a_lab_by_namespace_label_or_name(world: World) -> None:
    add = world.cluster.put
    label = {"labels": {LAB_LABEL: "01"}}
    ours = {
        add("Namespace", "lab01"),
        add("Namespace", "lab01-more"),
        add("ConfigMap", "a", "lab01"),
        add("ConfigMap", "a", "lab01-more"),
        add("ConfigMap", "labelled", "kube-system", metadata=label),
        add("ClusterRoleBinding", "lab01-delegator"),
        add("ClusterRoleBinding", "any", metadata=label),
    }
    add("Namespace", "lab02")
    add("Namespace", "lab011")
    add("ConfigMap", "lab01-a", "default")
    add("ConfigMap", "a", "lab02")
    add("ClusterRoleBinding", "lab01")
    add("ClusterRoleBinding", "other", metadata={"labels": {LAB_LABEL: "02"}})
    assert set(taken(world)) == ours


def test_what_kubernetes_makes_in_every_namespace_is_left_out(world: World) -> None:
    world.cluster.put("ConfigMap", "kube-root-ca.crt", "lab01")
    world.cluster.put("ServiceAccount", "default", "lab01")
    world.cluster.put("Event", "e", "lab01")
    assert taken(world) == {}


def test_owners_are_known_by_their_path(world: World) -> None:
    web = world.cluster.put("Deployment", "web", "lab01")
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": True}
    metadata = {"ownerReferences": [reference]}
    owned = world.cluster.put("ReplicaSet", "web-1", "lab01", metadata=metadata)
    secret = world.cluster.put("Secret", "made", "lab01", metadata=metadata)
    found = taken(world)
    assert (found[owned].owner, found[owned].ephemeral) == (web, True)
    # A Secret that an operator made is its own matter: it goes when it is new.
    assert (found[secret].owner, found[secret].ephemeral) == ("", True)
    assert not found[web].ephemeral


def test_what_is_in_a_terminating_namespace_is_leaving(world: World) -> None:
    world.cluster.put("Namespace", "lab01", metadata={"deletionTimestamp": "now"})
    entry = world.cluster.put("ConfigMap", "a", "lab01")
    assert taken(world)[entry].terminating


def test_custom_kinds_are_told_from_built_in_ones(world: World) -> None:
    thing = world.cluster.put("Thing", "t", "lab01")
    binding = world.cluster.put("ClusterRoleBinding", "lab01-b")
    found = taken(world)
    assert (found[thing].kind, found[binding].kind) == ("custom", "")


def test_a_cluster_that_does_not_answer_is_one_sentence(world: World) -> None:
    world.cluster.down = True
    with pytest.raises(EnvironmentLacks, match="the Kubernetes API does not answer"):
        inventory.take(world.lab())


def test_what_the_server_fills_in_does_not_count() -> None:
    written = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "lab01", "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "volumeMounts": [{"name": "data"}]}]},
    }
    stored = {
        **written,
        "metadata": {
            **written["metadata"],  # type: ignore[dict-item]  # a literal of mixed values
            "uid": "1",
            "resourceVersion": "2",
            "generation": 3,
            "creationTimestamp": "now",
            "managedFields": [],
            "finalizers": ["x"],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "spec": {
            "nodeName": "node",
            "containers": [
                {"name": "c", "volumeMounts": [{"name": "data"}, {"name": "kube-api-access-x2"}]}
            ],
            "volumes": [{"name": "kube-api-access-x2"}],
        },
        "status": {"phase": "Running"},
    }
    assert clean(stored) == written


@pytest.mark.parametrize(
    ("kind", "stored", "wanted"),
    [
        ("Service", {"spec": {"clusterIP": "10.0.0.1", "ports": [{"nodePort": 3}]}}, [{}]),
        ("Service", {"spec": {"clusterIP": "None", "ports": []}}, []),
    ],
)
def test_addresses_of_services(kind: str, stored: dict[str, object], wanted: object) -> None:
    spec = clean({"kind": kind, "metadata": {"name": "a"}, **stored})["spec"]
    assert spec["ports"] == wanted
    assert spec.get("clusterIP", "None") == "None"


def test_the_token_that_a_controller_puts_into_a_secret_does_not_count() -> None:
    kind = "kubernetes.io/service-account-token"
    secret = {"kind": "Secret", "type": kind, "metadata": {"name": "a"}, "data": {"token": "eA=="}}
    assert "data" not in clean(secret)
    assert "data" in clean({**secret, "type": "Opaque"})


def test_a_job_can_be_made_again() -> None:
    labels = {"batch.kubernetes.io/controller-uid": "1", "job-name": "j", "app": "mine"}
    job = {
        "kind": "Job",
        "metadata": {"name": "j", "labels": dict(labels)},
        "spec": {
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "1"}},
            "template": {"metadata": {"labels": dict(labels)}},
        },
    }
    body = clean(job)
    assert "selector" not in body["spec"]
    assert body["spec"]["template"]["metadata"]["labels"] == {"app": "mine"}
