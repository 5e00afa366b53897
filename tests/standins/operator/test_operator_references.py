"""References, allowedNamespaces and the merge of a VaultAuthGlobal."""

from __future__ import annotations

from typing import Any

import pytest

from standins.operator import model
from standins.operator.model import Obj
from standins.operator.references import ReferenceRefused, Resolver
from standins.operator.store import Store


def thing(kind: str, namespace: str, name: str, **spec: Any) -> Obj:
    meta = {"namespace": namespace, "name": name, "uid": f"{kind}-{namespace}-{name}"}
    return {"kind": kind, "metadata": meta, "spec": spec}


def resolver(*objects: Obj, **options: Any) -> Resolver:
    store = Store()
    for obj in objects:
        store.put(obj["kind"], obj)
    return Resolver(store, "vso", **options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ("vso", "default")), ("mine", ("apps", "mine")), ("other/x", ("other", "x"))],
)
def test_parse(text: str, expected: tuple[str, str]) -> None:
    assert resolver().parse(text, "apps") == expected


def test_more_than_one_slash_is_refused() -> None:
    with pytest.raises(ReferenceRefused, match="invalid name: a/b/c"):
        resolver().parse("a/b/c", "apps")


@pytest.mark.parametrize(
    ("home", "name", "allowed", "fine"),
    [
        ("apps", "a", None, True),
        ("other", "a", None, False),
        ("other", "a", ["*"], True),
        ("other", "a", ["apps"], True),
        ("other", "a", ["web"], False),
        # A star among others is a name like any other, and nobody's.
        ("other", "a", ["*", "web"], False),
        ("vso", "default", None, True),
        ("vso", "a", None, False),
    ],
)
def test_allowed_namespaces(home: str, name: str, allowed: list[str] | None, fine: bool) -> None:
    auth = thing(model.AUTH, home, name, allowedNamespaces=allowed, method="jwt")
    consumer = thing(model.STATIC, "apps", "s", vaultAuthRef=f"{home}/{name}")
    find = resolver(auth)
    if fine:
        assert model.uid(find.auth_for(consumer)) == model.uid(auth)
    else:
        with pytest.raises(ReferenceRefused, match=r'namespace "apps" is not allowed by kind=V'):
            find.auth_for(consumer)


def shared(**spec: Any) -> Obj:
    return thing(model.AUTH_GLOBAL, "vso", "default", **spec)


def test_global_fills_what_the_auth_leaves_open() -> None:
    glob = shared(
        defaultAuthMethod="kubernetes",
        defaultMount="k8s",
        vaultConnectionRef="vso/main",
        params={"a": "global", "b": "global"},
        kubernetes={
            "role": "shared",
            "serviceAccount": "app",
            "namespace": "team",
            "params": {"b": "block"},
        },
    )
    auth = thing(
        model.AUTH,
        "apps",
        "mine",
        vaultAuthGlobalRef={"allowDefault": True, "mergeStrategy": {"params": "union"}},
        kubernetes={"role": "own"},
        params={"c": "own"},
        headers={"h": "own"},
    )
    merged, used = resolver(glob, auth).merged(auth)
    spec = merged["spec"]
    assert used is not None
    assert model.name(used) == "default"
    assert spec["kubernetes"] == {"role": "own", "serviceAccount": "app"}
    assert (spec["method"], spec["mount"], spec["namespace"]) == ("kubernetes", "k8s", "team")
    assert spec["params"] == {"a": "global", "b": "block", "c": "own"}
    assert spec["headers"] == {"h": "own"}
    assert spec["vaultConnectionRef"] == "vso/main"
    assert "method" not in auth["spec"], "the stored object is not changed"


def test_replace_takes_the_nearest_layer() -> None:
    glob = shared(
        defaultAuthMethod="jwt",
        defaultMount="m",
        jwt={"role": "r"},
        headers={"a": "1"},
        params={"p": "1"},
    )
    strategy = {"headers": "replace", "params": "none"}
    auth = thing(
        model.AUTH,
        "apps",
        "mine",
        vaultAuthGlobalRef={"allowDefault": True, "mergeStrategy": strategy},
    )
    spec = resolver(glob, auth).merged(auth)[0]["spec"]
    assert spec["headers"] == {"a": "1"}
    assert not spec.get("params")


@pytest.mark.parametrize(
    ("glob", "auth", "text"),
    [
        ({}, {}, "invalid merge: no auth method set"),
        ({"defaultAuthMethod": "jwt"}, {}, "invalid merge: global auth method jwt"),
        ({"jwt": {"role": "r"}}, {"method": "jwt"}, "invalid merge: mount is not set"),
    ],
)
def test_bad_merges(glob: dict[str, Any], auth: dict[str, Any], text: str) -> None:
    mine = thing(model.AUTH, "apps", "mine", vaultAuthGlobalRef={"allowDefault": True}, **auth)
    with pytest.raises(ReferenceRefused, match=text):
        resolver(shared(**glob), mine).merged(mine)


def test_the_default_global_must_be_asked_for_and_allowed() -> None:
    plain = thing(model.AUTH, "apps", "mine", vaultAuthGlobalRef={})
    with pytest.raises(ReferenceRefused, match="empty name"):
        resolver(shared(), plain).merged(plain)
    asks = thing(model.AUTH, "apps", "mine", vaultAuthGlobalRef={"allowDefault": True})
    with pytest.raises(ReferenceRefused, match="default vault auth is not allowed"):
        resolver(shared(), asks, allow_default_globals=False).merged(asks)
    with pytest.raises(ReferenceRefused, match=r"not found in namespaces=\[apps vso\]"):
        resolver(asks).merged(asks)


def test_a_named_global_of_another_namespace_must_allow_it() -> None:
    glob = thing(
        model.AUTH_GLOBAL, "team", "g", defaultAuthMethod="jwt", defaultMount="m", jwt={"role": "r"}
    )
    auth = thing(model.AUTH, "apps", "mine", vaultAuthGlobalRef={"name": "g", "namespace": "team"})
    with pytest.raises(ReferenceRefused, match="kind=VaultAuthGlobal obj=team/g"):
        resolver(glob, auth).merged(auth)
