"""The plan of a reset: what is done, and in which order."""

from __future__ import annotations

from dataclasses import replace

from harness.snapshot.model import Inventory, Item
from harness.snapshot.plan import plan

KV = Item(
    "sys/mounts/lab01-kv/", "mount", "lab01-kv/", "1", "mount", {"type": "kv", "options": None}
)
SECRET = Item("lab01-kv/app", "secret", "lab01-kv/app", "1", "kv1", kept=True, parent=KV.path)
JWT = Item("sys/auth/lab01-jwt/", "auth method", "lab01-jwt/", "1", "auth method", {"type": "jwt"})
SETTING = Item(
    "auth/lab01-jwt/config", "login setting", "c", "1", "auth/jwt:config", {}, parent=JWT.path
)
ROLE = Item("auth/lab01-jwt/role/app", "login role", "r", "1", "auth/jwt:role", {}, parent=JWT.path)
POLICY = Item("sys/policies/acl/lab01-app", "policy", "lab01-app", "1", "policy", {})
TOKEN = Item("auth/token/accessors/x", "token of", "app", "", "token", ephemeral=True)
ENTITY = Item("identity/entity/id/1", "entity", "e", "", "entity", ephemeral=True)
LEASE = Item(
    "sys/leases/lookup/lab01-db/creds/a/1", "lease", "l", "", "lease", ephemeral=True, parent="m"
)
SPACE = Item("/api/v1/namespaces/lab01", "Namespace", "lab01", "1", copy={})
MAP = Item("/api/v1/namespaces/lab01/configmaps/a", "ConfigMap", "a", "1", parent=SPACE.path)
WEB = Item(
    "/apis/apps/v1/namespaces/lab01/deployments/web", "Deployment", "w", "1", parent=SPACE.path
)
SET = Item(
    "/apis/apps/v1/namespaces/lab01/replicasets/web-1",
    "ReplicaSet",
    "w1",
    "1",
    ephemeral=True,
    parent=SPACE.path,
    owner=WEB.path,
)
POD = Item("/api/v1/namespaces/lab01/pods/w", "Pod", "w1a", "1", parent=SPACE.path, owner=SET.path)
THING = Item(
    "/apis/example.test/v1/namespaces/lab01/things/t",
    "Thing",
    "t",
    "1",
    "custom",
    parent=SPACE.path,
)


def holding(*items: Item) -> Inventory:
    return Inventory.of("01", "env", items)


def steps(before: Inventory, after: Inventory) -> list[str]:
    return [str(action) for action in plan(before, after)]


def test_nothing_to_do() -> None:
    everything = holding(KV, SECRET, POLICY, TOKEN, SPACE, WEB, SET, POD)
    assert plan(everything, everything) == []


def test_everything_goes_in_an_order_that_works() -> None:
    order = [
        action.item
        for action in plan(
            holding(), holding(POLICY, KV, ENTITY, LEASE, TOKEN, SPACE, POD, SET, WEB, THING)
        )
    ]
    assert order == [THING, WEB, SET, POD, SPACE, TOKEN, LEASE, ENTITY, KV, POLICY]


def test_what_goes_with_its_mount_or_namespace_is_not_removed_by_itself() -> None:
    assert steps(holding(), holding(KV, SECRET, SPACE, MAP)) == [
        "removed Namespace lab01",
        "removed mount lab01-kv/",
    ]


def test_the_same_things_are_removed_where_mount_and_namespace_stay() -> None:
    assert steps(holding(KV, SPACE), holding(KV, SPACE, SECRET, MAP)) == [
        "removed ConfigMap a",
        "removed secret lab01-kv/app",
    ]


def test_putting_back_goes_from_the_outside_in() -> None:
    assert [
        action.item
        for action in plan(holding(WEB, MAP, SPACE, ROLE, SETTING, JWT, POLICY), holding())
    ] == [POLICY, JWT, SETTING, ROLE, SPACE, MAP, WEB]


def test_a_pod_of_a_deployment_is_not_put_back() -> None:
    assert steps(holding(WEB, replace(POD, ephemeral=True)), holding(WEB)) == []


def test_settings_that_vault_cannot_delete_take_mounting_anew() -> None:
    assert steps(holding(JWT, ROLE), holding(JWT, SETTING, replace(ROLE, sum="2"), TOKEN)) == [
        "removed token of app",
        "removed auth method lab01-jwt/",
        "put back auth method lab01-jwt/",
        "put back login role r",
    ]


def test_changed_settings_are_written_again() -> None:
    assert steps(holding(JWT, SETTING), holding(JWT, replace(SETTING, sum="2"))) == [
        "put back login setting c"
    ]


def test_a_mount_of_another_type_is_mounted_anew_with_its_secrets() -> None:
    second = replace(KV, sum="2", copy={"type": "kv", "options": {"version": "2"}})
    other = Item("lab01-kv/metadata/x", "secret", "x", "1", "kv2", {}, parent=KV.path)
    assert steps(holding(KV, SECRET), holding(second, other)) == [
        "removed mount lab01-kv/",
        "put back mount lab01-kv/",
        "put back secret lab01-kv/app",
    ]


def test_a_mount_that_is_only_tuned_stays_mounted() -> None:
    tuned = replace(KV, sum="2", copy={**KV.copy, "config": {"max_lease_ttl": 5}})
    assert steps(holding(KV, SECRET), holding(tuned, SECRET)) == ["put back mount lab01-kv/"]
