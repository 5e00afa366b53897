"""Comparing inventories: what counts as a change, and that no secret shows in it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.base.errors import UsageError
from harness.snapshot.model import Inventory, Item, compare, difference, sum_of

POLICY = Item("sys/policies/acl/lab01-app", "policy", "lab01-app", "1", "policy", {"policy": "a"})
TOKEN = Item("auth/token/accessors/x", "token of", "app", "", "token", ephemeral=True)
WEB = Item("/apis/apps/v1/namespaces/lab01/deployments/web", "Deployment", "lab01/web", "1")
SET = Item("/apis/apps/v1/namespaces/lab01/replicasets/web-1", "ReplicaSet", "lab01/web-1", "1")
SET = replace(SET, owner=WEB.path, ephemeral=True)
POD = Item("/api/v1/namespaces/lab01/pods/web-1-a", "Pod", "lab01/web-1-a", "1")
POD = replace(POD, owner=SET.path, ephemeral=True)


def holding(*items: Item) -> Inventory:
    return Inventory.of("01", "env", items)


def test_equal_inventories_do_not_differ() -> None:
    assert difference(holding(POLICY, TOKEN), holding(POLICY, TOKEN)) == []


def test_each_kind_of_difference_is_a_sentence() -> None:
    changed = replace(POLICY, sum="2", copy={"policy": "b"})
    other = replace(POLICY, path="sys/policies/acl/lab01-b", name="lab01-b")
    assert difference(holding(POLICY, other), holding(changed, TOKEN)) == [
        "token of app is new",
        "policy lab01-app changed (policy)",
        "policy lab01-b is gone",
    ]


def test_what_goes_by_itself_may_be_gone_but_not_new() -> None:
    assert difference(holding(TOKEN), holding()) == []
    assert difference(holding(), holding(TOKEN)) == ["token of app is new"]


def test_who_had_a_token_may_have_another() -> None:
    mine = replace(TOKEN, holder="app by auth/lab01-jwt/login")
    again = replace(mine, path="auth/token/accessors/y")
    other = replace(again, holder="web by auth/lab01-jwt/login")
    assert difference(holding(mine), holding(mine, again)) == []
    assert difference(holding(mine), holding(mine, other)) == ["token of app is new"]
    assert [item.path for item in compare(holding(mine), holding(again)).new] == [again.path]


def test_pods_of_a_deployment_that_was_there_are_its_own_business() -> None:
    again = replace(POD, path=POD.path + "b")
    newer = replace(SET, path=SET.path + "2")
    of_newer = replace(POD, path=POD.path + "c", owner=newer.path)
    assert difference(holding(WEB, SET, POD), holding(WEB, SET, again, newer, of_newer)) == []


def test_pods_of_a_new_deployment_are_new() -> None:
    assert [item.noun for item in compare(holding(), holding(WEB, SET, POD)).new] == [
        "Pod",
        "Deployment",
        "ReplicaSet",
    ]


def test_an_orphan_counts_as_new() -> None:
    assert difference(holding(WEB), holding(WEB, POD)) == ["Pod lab01/web-1-a is new"]


def test_owners_in_a_circle_end() -> None:
    one = replace(POD, path="/api/a", owner="/api/b")
    other = replace(POD, path="/api/b", owner="/api/a")
    assert len(compare(holding(), holding(one, other)).new) == 2


def test_what_is_being_deleted_counts_as_gone() -> None:
    terminating = replace(WEB, terminating=True, ephemeral=True)
    assert difference(holding(), holding(terminating)) == []
    assert difference(holding(WEB), holding(terminating)) == ["Deployment lab01/web is gone"]


def test_only_names_of_fields_are_shown() -> None:
    before = replace(POLICY, copy={"config": {"ttl": 1, "other": 1}, "text": "old-value"})
    after = replace(POLICY, sum="2", copy={"config": {"ttl": 2, "other": 1}, "text": "new-value"})
    assert difference(holding(before), holding(after)) == [
        "policy lab01-app changed (config.ttl, text)"
    ]


def test_json_and_back() -> None:
    inventory = holding(POLICY, TOKEN, WEB, SET, POD)
    assert Inventory.from_json(json.loads(json.dumps(inventory.to_json()))) == inventory


@pytest.mark.parametrize("broken", [{}, {"items": [{}]}, {"items": [{"color": 1}]}, {"items": 1}])
def test_broken_json_is_bad_input(broken: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="a stored inventory cannot be read"):
        Inventory.from_json({"lab": "01", "environment": "e", **broken})


def test_sums_depend_on_content_and_key_but_not_on_order() -> None:
    assert sum_of({"a": 1, "b": 2}, "key") == sum_of({"b": 2, "a": 1}, "key")
    assert sum_of({"a": 1}, "key") != sum_of({"a": 2}, "key")
    assert sum_of({"a": 1}, "key") != sum_of({"a": 1}, "other key")
