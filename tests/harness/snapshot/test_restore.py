"""Returning to an earlier state: whatever was done to a lab, afterwards it is as before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import EnvironmentLacks, LabError, UsageError
from harness.clients.vault import VaultUnreachable
from harness.snapshot import restore as reset
from harness.snapshot import take as inventory
from harness.snapshot.take import Inventory
from tests.fakes.lab import World, make_world
from tests.fakes.vault_answers import Answer


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two labs side by side, each with something of everything."""
    made = make_world(tmp_path, monkeypatch)
    for lab in ("lab01", "lab02"):
        fill(made, lab)
    return made


def fill(world: World, lab: str) -> None:
    vault, add = world.vault, world.cluster.put
    vault.put(f"sys/policies/acl/{lab}-app", policy="read")
    vault.mount(f"{lab}-kv/", version="2")
    vault.mount(f"{lab}-old/")
    vault.mount(f"{lab}-db/", "database")
    vault.enable(f"{lab}-k8s/", "kubernetes")
    for value in ("first", "second", "third"):
        vault.put(f"{lab}-kv/data/app", data={"password": f"{lab}-{value}"})
    inventory.take(world.lab(lab[-2:]))  # as before every step: now all three are known
    vault.put(f"{lab}-kv/delete/app", versions=[2])
    vault.put(f"{lab}-old/app", password=f"{lab}-old-value")
    vault.put(f"{lab}-db/config/pg", plugin_name="pg", connection_details={"username": "a"})
    vault.put(f"{lab}-db/roles/app", db_name="pg", default_ttl=60)
    vault.put(f"auth/{lab}-k8s/role/app", audience="vault", token_policies=[f"{lab}-app"])
    vault.tokens[f"{lab}-token"] = {"policies": [f"{lab}-app"], "path": f"auth/{lab}-k8s/login"}
    vault.leases[f"{lab}-db/creds/app/1"] = {}
    alias = {"id": f"{lab}-alias", "mount_path": f"auth/{lab}-k8s/"}
    vault.entities[f"{lab}-entity"] = {"name": "e", "aliases": [alias]}
    add("Namespace", lab)
    add("ConfigMap", "app", lab, data={"a": "b"})
    add("Secret", "app", lab, data={"password": "c2VjcmV0"})
    add("Pod", "app", lab, spec={"containers": [{"name": "c", "image": "i"}]})
    add("ClusterRoleBinding", f"{lab}-delegator", roleRef={"name": "x"})


def write_secret(world: World) -> None:
    world.vault.put("lab01-kv/data/app", data={"password": "new"})


def destroy_secret(world: World) -> None:
    world.vault.put("lab01-kv/destroy/app", versions=[1, 3])


def undelete_secret(world: World) -> None:
    world.vault.put("lab01-kv/undelete/app", versions=[2])
    world.vault.put("lab01-kv/delete/app", versions=[1])


def new_secret(world: World) -> None:
    world.vault.put("lab01-kv/data/other", data={"a": "b"})
    world.vault.put("lab01-old/other", a="b")


def lose_old_secret(world: World) -> None:
    del world.vault.documents["lab01-old/app"]


def settings_of_secret(world: World) -> None:
    world.vault.put("lab01-kv/metadata/app", custom_metadata={"owner": "me"}, max_versions=5)


def unmount(world: World) -> None:
    world.vault.request("DELETE", "/v1/sys/mounts/lab01-old")


def become_version_2(world: World) -> None:
    unmount(world)
    world.vault.mount("lab01-old/", version="2")
    world.vault.put("lab01-old/data/x", data={"a": "b"})


def write_login_setting(world: World) -> None:
    world.vault.put("auth/lab01-k8s/config", kubernetes_host="https://x")


def unmount_all(world: World) -> None:
    for path in ("sys/mounts/lab01-kv", "sys/mounts/lab01-old", "sys/auth/lab01-k8s"):
        world.vault.request("DELETE", f"/v1/{path}")


def change_roles(world: World) -> None:
    world.vault.put("auth/lab01-k8s/role/app", audience="other")
    world.vault.put("lab01-db/roles/app", db_name="pg", default_ttl=1)
    world.vault.put("lab01-db/roles/other", db_name="pg")


def change_connection(world: World) -> None:
    world.vault.put("lab01-db/config/pg", plugin_name="mysql", connection_details={"a": "b"})


def change_policies(world: World) -> None:
    world.vault.put("sys/policies/acl/lab01-app", policy="sudo")
    world.vault.put("sys/policies/acl/lab01-other", policy="sudo")


def log_in(world: World) -> None:
    world.vault.tokens["t2"] = {"policies": ["default"], "path": "auth/lab01-k8s/login"}
    world.vault.leases["lab01-db/creds/app/2"] = {}
    alias = {"id": "a2", "mount_path": "auth/lab01-k8s/"}
    world.vault.entities["e2"] = {"name": "e2", "aliases": [alias]}


def change_objects(world: World) -> None:
    world.cluster.put("ConfigMap", "app", "lab01", data={"a": "changed"})
    world.cluster.put("Secret", "app", "lab01", data={"password": "bmV3"})


def lose_objects(world: World) -> None:
    for kind in ("ConfigMap", "Secret", "Pod"):
        del world.cluster.objects[kind, "lab01", "app"]


def new_objects(world: World) -> None:
    world.cluster.put("Pod", "other", "lab01", spec={"containers": []})
    world.cluster.put("Namespace", "lab01-more")
    world.cluster.put("Secret", "x", "lab01-more", data={})
    world.cluster.put("Thing", "t", "lab01", metadata={"finalizers": ["example.test/wait"]})


CHANGES = [
    write_secret,
    destroy_secret,
    undelete_secret,
    new_secret,
    lose_old_secret,
    settings_of_secret,
    unmount,
    unmount_all,
    become_version_2,
    write_login_setting,
    change_roles,
    change_policies,
    log_in,
    change_objects,
    lose_objects,
    new_objects,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_change_is_seen_and_taken_back(world: World, change: Callable[[World], None]) -> None:
    lab = world.lab()
    before = inventory.take(lab)
    stored = Inventory.from_json(json.loads(json.dumps(before.to_json())))
    change(world)
    assert inventory.difference(before, inventory.take(lab)) != []
    assert reset.restore(lab, stored) != []
    assert inventory.difference(before, inventory.take(lab)) == []


def test_nothing_is_done_where_nothing_changed(world: World) -> None:
    lab = world.lab()
    before = inventory.take(lab)
    world.vault.calls.clear()
    world.cluster.requests.clear()
    assert reset.restore(lab, before) == []
    calls = world.vault.calls + world.cluster.requests
    read = ("GET", "LIST", "POST auth/token/lookup-accessor")
    assert [call for call in calls if not call.startswith(read)] == []


def test_everything_of_a_lab_goes_and_nothing_of_another(world: World) -> None:
    other = inventory.take(world.lab("02"))
    inventory.take(world.lab())
    done = reset.wipe(world.lab())
    assert "removed Namespace lab01" in done
    assert inventory.take(world.lab()).items == {}
    assert inventory.difference(other, inventory.take(world.lab("02"))) == []
    left = [path for path in world.vault.documents if "lab01" in path]
    assert left == []


def test_returning_leaves_other_labs_alone(world: World) -> None:
    other = inventory.take(world.lab("02"))
    before = inventory.take(world.lab())
    for change in CHANGES:
        change(world)
    reset.restore(world.lab(), before)
    assert inventory.difference(other, inventory.take(world.lab("02"))) == []


def test_a_wipe_does_not_wait_for_namespaces_but_a_return_does(world: World) -> None:
    empty_lab = inventory.take(world.lab())
    more = world.cluster.put("Namespace", "lab01-more")
    world.cluster.hold.add(more)
    with pytest.raises(LabError, match="is not back at its earlier state"):
        reset.restore(world.lab(), empty_lab)
    assert "removed Namespace lab01" in reset.wipe(world.lab())


def test_finalizers_that_nobody_serves_are_taken_away(world: World) -> None:
    thing = world.cluster.put("Thing", "t", "lab01", metadata={"finalizers": ["example.test/x"]})
    done = reset.wipe(world.lab())
    assert world.cluster.at(thing) is None
    assert "removed Thing lab01/t, without waiting for its finalizers" in done


def test_custom_resources_are_all_told_to_go_before_one_is_waited_for(world: World) -> None:
    things = [
        world.cluster.put("Thing", name, "lab01", metadata={"finalizers": ["example.test/x"]})
        for name in ("one", "two")
    ]
    reset.wipe(world.lab())
    calls = world.cluster.requests
    waits = min(calls.index(f"GET {thing}") for thing in things)
    assert all(calls.index(f"DELETE {thing}") < waits for thing in things)


def test_an_immutable_object_is_made_anew(world: World) -> None:
    before = inventory.take(world.lab())
    pod = world.cluster.put("Pod", "app", "lab01", spec={"containers": [{"name": "other"}]})
    world.cluster.immutable.add(pod)
    reset.restore(world.lab(), before)
    assert inventory.difference(before, inventory.take(world.lab())) == []
    assert f"DELETE {pod}" in world.cluster.requests


def test_a_service_keeps_its_address(world: World) -> None:
    path = world.cluster.put("Service", "app", "lab01", spec={"clusterIP": "10.0.0.9", "ports": []})
    before = inventory.take(world.lab())
    world.cluster.put(
        "Service", "app", "lab01", spec={"clusterIP": "10.0.0.9", "ports": [{"port": 1}]}
    )
    reset.restore(world.lab(), before)
    service = world.cluster.at(path)
    assert service
    assert service["spec"] == {"clusterIP": "10.0.0.9", "ports": []}


def agent_logs_in_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever a token is revoked, there is a new one."""
    answer = world.vault.request

    def request(method: str, path: str, **options: Any) -> Answer:
        given = answer(method, path, **options)
        if path.endswith("revoke-accessor"):
            number = len(world.vault.calls)
            world.vault.tokens[f"new-{number}"] = {"path": "auth/lab01-k8s/login"}
        return given

    monkeypatch.setattr(world.vault, "request", request)


def test_a_program_of_the_earlier_state_may_log_in_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reset, "SETTLE_SECONDS", 60)
    before = inventory.take(world.lab())
    log_in(world)
    agent_logs_in_for_ever(world, monkeypatch)
    reset.restore(world.lab(), before)
    assert "t2" not in world.vault.tokens
    assert len([name for name in world.vault.tokens if name.startswith("new-")]) == 1


def test_a_program_that_a_wipe_does_not_reach_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_logs_in_for_ever(world, monkeypatch)
    with pytest.raises(LabError, match="token of auth/lab01-k8s/login is new"):
        reset.wipe(world.lab())


# -- what goes wrong ------------------------------------------------------------------------


def test_what_cannot_come_back_is_named_and_the_rest_is_done(world: World) -> None:
    before = inventory.take(world.lab())
    del world.vault.documents["lab01-db/config/pg"]
    change_policies(world)
    with pytest.raises(LabError) as caught:
        reset.restore(world.lab(), before)
    assert "database connection lab01-db/config/pg cannot be put back" in caught.value.what
    assert caught.value.hint.startswith("./lab reset 01")
    assert "policy" not in caught.value.what
    assert world.vault.documents["sys/policies/acl/lab01-app"] == {"policy": "read"}


def test_a_changed_connection_is_written_without_its_password(world: World) -> None:
    before = inventory.take(world.lab())
    change_connection(world)
    # The fake stores what is written; Vault would nest it, so the difference stays here.
    with pytest.raises(LabError):
        reset.restore(world.lab(), before)
    written = world.vault.documents["lab01-db/config/pg"]
    assert (written["plugin_name"], written["username"]) == ("pg", "a")
    assert "connection_details" not in written


def test_a_lost_copy_is_said(world: World) -> None:
    before = inventory.take(world.lab())
    world.vault.documents = {
        path: data for path, data in world.vault.documents.items() if "cubbyhole" not in path
    }
    del world.vault.secrets["lab01-kv/app"]
    with pytest.raises(LabError, match=r"lab01-kv/app cannot be put back: the data of version 1"):
        reset.restore(world.lab(), before)
    assert "DELETE lab01-kv/metadata/app" not in world.vault.calls


def test_what_acting_does_not_change_is_not_tried_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reset, "SETTLE_SECONDS", 60)
    world.vault.mount("lab01-transit/", "transit")
    world.vault.put("lab01-transit/keys/app", latest_version=1)
    before = inventory.take(world.lab())
    world.vault.put("lab01-transit/keys/app", latest_version=2)
    with pytest.raises(LabError, match=r"transit key lab01-transit/keys/app changed"):
        reset.restore(world.lab(), before)
    writes = world.vault.calls.count("POST lab01-transit/keys/app/config")
    assert writes == reset.MAX_IDENTICAL_ROUNDS - 1


def test_a_lease_whose_database_is_gone_is_forgotten(world: World) -> None:
    world.vault.refuse["POST sys/leases/revoke"] = "failed to revoke: connection refused"
    done = reset.wipe(world.lab())
    assert [line for line in done if line.startswith("forgot lease lab01-db/creds/app/1")]
    assert "lab02-db/creds/app/1" in world.vault.leases


def test_a_refusal_does_not_stop_the_rest(world: World) -> None:
    world.vault.refuse["DELETE sys/mounts/lab01-db"] = "no"
    with pytest.raises(LabError, match=r"Vault answered 400 to DELETE /?(v1/)?sys/mounts/lab01-db"):
        reset.wipe(world.lab())
    assert "sys/policies/acl/lab01-app" not in world.vault.documents


@pytest.mark.parametrize("trouble", ["vault sealed", "vault down", "cluster down"])
@pytest.mark.parametrize("way", ["wipe", "restore"])
def test_nothing_is_changed_where_one_side_does_not_answer(
    world: World, trouble: str, way: str
) -> None:
    before = inventory.take(world.lab())
    log_in(world)
    world.vault.sealed = trouble == "vault sealed"
    world.vault.down = trouble == "vault down"
    world.cluster.down = trouble == "cluster down"
    world.vault.calls.clear()
    world.cluster.requests.clear()
    with pytest.raises((EnvironmentLacks, VaultUnreachable)):
        reset.wipe(world.lab()) if way == "wipe" else reset.restore(world.lab(), before)
    calls = world.vault.calls + world.cluster.requests
    assert [call for call in calls if call.startswith(("DELETE", "PUT", "PATCH"))] == []
    assert not [call for call in calls if "revoke" in call]


@pytest.mark.parametrize(
    ("lab", "root"), [("02", "root-token-of-this-world"), ("01", "other-root-token")]
)
def test_a_state_of_something_else_is_refused(world: World, lab: str, root: str) -> None:
    wrong = inventory.take(world.lab(lab, root))
    with pytest.raises(UsageError, match="of another lab or environment"):
        reset.restore(world.lab(), wrong)
