"""Random custom resources that a cluster would accept: no crash, no foreign Secret, no secret told.

What the CRD's schema refuses never reaches the operator: such a resource is counted and left out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from importlib import resources
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # comes with nbformat, without types
import pytest
import yaml

from standins.operator import model
from tests.standins import mutations
from tests.standins.operator.world import APP, HOME, World, world

# Of the seven kinds each has its share of the time, but all of the rounds.
SHARE = len(model.KINDS) if mutations.SECONDS else 1
SCENE_SECONDS = 240.0
CANARY = "canary-of-the-fuzzer"
FOREIGN = "of-somebody-else"
BLOCK = {
    "templates": {"url": {"name": "url", "text": '{{ get .Secrets "user" }}@x'}},
    "includes": ["user.*"],
    "excludes": ["x.*"],
    "transformationRefs": [{"name": "shared", "ignoreIncludes": False}],
    "excludeRaw": False,
}
DESTINATION = {
    "name": "made",
    "create": True,
    "overwrite": False,
    "type": "Opaque",
    "labels": {"a": "b"},
    "annotations": {"c": "d"},
    "transformation": BLOCK,
}
KUBERNETES = {
    "role": "app",
    "serviceAccount": "app",
    "audiences": ["vault"],
    "tokenExpirationSeconds": 600,
}
SPECS: dict[str, dict[str, Any]] = {
    model.CONNECTION: {
        "tlsServerName": "vault",
        "headers": {"x-a": "b"},
        "skipTLSVerify": False,
        "caCertSecretRef": "ca",
        "timeout": "1s",
    },
    model.AUTH: {
        "vaultConnectionRef": "default",
        "method": "kubernetes",
        "mount": "kubernetes",
        "namespace": "",
        "allowedNamespaces": [APP],
        "headers": {"x-a": "b"},
        "params": {"p": "q"},
        "kubernetes": KUBERNETES,
        "vaultAuthGlobalRef": {"name": "shared", "allowDefault": True},
    },
    model.AUTH_GLOBAL: {
        "allowedNamespaces": ["*"],
        "defaultAuthMethod": "kubernetes",
        "defaultMount": "kubernetes",
        "kubernetes": {**KUBERNETES, "mount": "kubernetes"},
    },
    model.TRANSFORMATION: {
        "templates": BLOCK["templates"],
        "sourceTemplates": [{"name": "one", "text": '{{ define "one" }}1{{ end }}'}],
        "includes": ["user.*"],
        "excludes": [],
    },
    model.STATIC: {
        "vaultAuthRef": "fuzzed",
        "mount": "kv",
        "path": "app",
        "type": "kv-v2",
        "version": 1,
        "refreshAfter": "30s",
        "hmacSecretData": True,
        "destination": DESTINATION,
        "rolloutRestartTargets": [{"kind": "Deployment", "name": "web"}],
        "syncConfig": {"instantUpdates": False},
    },
    model.DYNAMIC: {
        "vaultAuthRef": "fuzzed",
        "mount": "database",
        "path": "creds/app",
        "params": {"a": "b"},
        "requestHTTPMethod": "GET",
        "renewalPercent": 67,
        "revoke": True,
        "allowStaticCreds": False,
        "refreshAfter": "30s",
        "destination": DESTINATION,
        "rolloutRestartTargets": [{"kind": "Deployment", "name": "web"}],
    },
    model.PKI: {
        "vaultAuthRef": "fuzzed",
        "mount": "pki",
        "role": "web",
        "commonName": "web.test",
        "altNames": ["a.test"],
        "ipSans": ["127.0.0.1"],
        "ttl": "1h",
        "expiryOffset": "10s",
        "format": "pem",
        "revoke": True,
        "clear": True,
        "destination": DESTINATION,
    },
}


def schema_of(kind: str) -> dict[str, Any]:
    """The schema that the API server holds a resource of this kind against."""
    file = resources.files("standins.operator") / "manifests" / "crds" / f"{kind.lower()}s.yaml"
    crd = yaml.safe_load(file.read_text(encoding="utf-8"))
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return dict(found["properties"]["spec"])


def accepted(spec: Any, schema: dict[str, Any]) -> bool:
    """Whether the API server takes it: it is JSON, and fits the schema."""
    try:
        text = json.dumps(spec, allow_nan=False, ensure_ascii=False)
        text.encode("utf-8")
    except ValueError:
        return False
    checker = jsonschema.Draft4Validator(schema)
    return bool(checker.is_valid(json.loads(text)))


def some_spec(kind: str, w: World, chance: random.Random) -> Any:
    """A changed spec; a connection keeps its address, which would be looked up."""
    spec = mutations.changed(SPECS[kind], chance)
    if kind == model.CONNECTION and isinstance(spec, dict):
        spec["address"] = w.vault.base
        spec["timeout"] = "1s"
    return spec


def put(w: World, kind: str, name: str, spec: dict[str, Any]) -> None:
    """Make or change a resource, as `kubectl apply` does."""
    if (kind, APP, name) in w.kube.objects:
        # Once empty, so that nothing of the old one stays: an edit is a merge.
        w.kube.edit(kind, APP, name, {"spec": None})
        w.kube.edit(kind, APP, name, {"spec": spec})
    else:
        w.make(kind, name, spec)


def user_of(kind: str) -> dict[str, Any]:
    """A VaultStaticSecret that uses the resource `fuzzed` of this kind."""
    spec = {**SPECS[model.STATIC], "vaultAuthRef": "fuzzed" if kind == model.AUTH else ""}
    block = {"transformationRefs": [{"name": "fuzzed"}]} if kind == model.TRANSFORMATION else {}
    return spec | {"destination": {"name": "user", "create": True, "transformation": block}}


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", model.KINDS)
def test_resources_at_random(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    chance, schema = mutations.chances(kind), schema_of(kind)
    seen: Counter[str] = Counter()

    async def one(w: World, number: int) -> None:
        spec = some_spec(kind, w, chance)
        if not accepted(spec, schema):
            seen["refused"] += 1
            return
        seen["accepted"] += 1
        put(w, kind, f"fuzzed-{number}" if kind in model.SYNCABLE else "fuzzed", spec)
        await w.run(kind, f"fuzzed-{number}" if kind in model.SYNCABLE else "fuzzed")
        if kind not in model.SYNCABLE:
            # It must not bring down those who use it, either.
            put(w, model.STATIC, "user", user_of(kind))
            await w.run(model.STATIC, "user")

    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"user": CANARY, "password": CANARY})
            w.make("Secret", FOREIGN, {})
            if kind in model.SYNCABLE:
                auth = {**SPECS[model.AUTH]}
                auth.pop("vaultAuthGlobalRef")
                put(w, model.AUTH, "fuzzed", auth | {"vaultConnectionRef": f"{HOME}/default"})
            before = {key for key in w.kube.objects if key[0] == "Secret"}
            for number in mutations.rounds(SHARE):
                await one(w, number)
            made = {key for key in w.kube.objects if key[0] == "Secret"} - before
            assert {namespace for _, namespace, _ in made} <= {APP, HOME}
            assert not w.kube.objects["Secret", APP, FOREIGN].get("data")
            told = [message for _, _, message, _ in w.events.all]
            assert not [text for text in told if CANARY in text]
            # An ordinary resource works after all of it.
            w.static("ordinary", destination={"name": "ordinary"})
            await w.run(model.STATIC, "ordinary")
            assert w.secret("ordinary")["user"] == CANARY

    asyncio.run(asyncio.wait_for(scene(), SCENE_SECONDS + mutations.SECONDS))
    assert seen["accepted"] > sum(seen.values()) // 20, seen
    assert CANARY not in caplog.text
