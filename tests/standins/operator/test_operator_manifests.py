"""The manifests: what is declared, and that no more is allowed than what is called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from standins.operator import model
from tests.standins.operator.world import HOME, play, world

HERE = Path(__file__).parents[3] / "standins" / "operator"
MANIFESTS = HERE / "manifests"
CRDS = {
    crd["spec"]["names"]["kind"]: crd
    for crd in (yaml.safe_load(path.read_text()) for path in (MANIFESTS / "crds").glob("*.yaml"))
}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def schema(kind: str, *path: str) -> dict[str, Any]:
    found: dict[str, Any] = CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for step in path:
        found = found["properties"][step]
    return found


def test_every_kind_has_its_crd() -> None:
    assert set(CRDS) == set(model.KINDS)
    for kind, crd in CRDS.items():
        names = crd["spec"]["names"]
        assert model.RESOURCES[kind].rpartition("/")[2] == names["plural"]
        assert crd["metadata"]["name"] == f"{names['plural']}.{model.GROUP}"
        version = crd["spec"]["versions"][0]
        assert f"{crd['spec']['group']}/{version['name']}" == model.API_VERSION
        assert version["subresources"] == {"status": {}}


@pytest.mark.parametrize("kind", model.KINDS)
def test_schemas_are_structural(kind: str) -> None:
    def walk(node: dict[str, Any], where: str) -> None:
        assert node.get("type"), f"{where} has no type"
        for name, child in (node.get("properties") or {}).items():
            walk(child, f"{where}.{name}")
        for part in ("items", "additionalProperties"):
            if part in node:
                walk(node[part], f"{where}.{part}")

    walk(schema(kind), kind)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        (model.STATIC, ["Synced", "Healthy", "Ready", "Age"]),
        (model.DYNAMIC, ["Synced", "Healthy", "Ready", "Age"]),
        (model.PKI, ["Synced", "Healthy", "Ready", "Age"]),
        (model.AUTH, ["Healthy", "Ready", "Age"]),
        (model.CONNECTION, ["Healthy", "Ready", "Age"]),
        (model.TRANSFORMATION, ["Healthy", "Ready", "Age"]),
    ],
)
def test_printer_columns(kind: str, columns: list[str]) -> None:
    shown = CRDS[kind]["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in shown] == columns


def test_defaults_and_bounds() -> None:
    assert schema(model.DYNAMIC, "spec", "renewalPercent") | {"description": ""} == {
        "type": "integer",
        "description": "",
        "minimum": 0,
        "maximum": 90,
        "default": 67,
    }
    assert schema(model.STATIC, "spec", "hmacSecretData")["default"] is True
    assert schema(model.STATIC, "spec", "destination", "create")["default"] is False
    assert schema(model.STATIC, "spec")["required"] == ["mount", "path", "type", "destination"]
    seconds = schema(model.AUTH, "spec", "kubernetes", "tokenExpirationSeconds")
    assert (seconds["minimum"], seconds["default"]) == (600, 600)
    pattern = schema(model.STATIC, "spec", "refreshAfter")["pattern"]
    assert re.match(pattern, "1.5h")
    assert not re.match(pattern, "1d")
    assert re.match(schema(model.PKI, "spec", "ttl")["pattern"], "30d")


def misfits(value: Any, node: dict[str, Any], where: str) -> Iterator[str]:
    """Where `value` is not what the schema `node` says, as far as these schemas say something."""
    for name in node.get("required") or []:
        if name not in value:
            yield f"{where} lacks {name}"
    if "enum" in node and value not in node["enum"]:
        yield f"{where}: {value}"
    if "pattern" in node and not re.search(node["pattern"], value):
        yield f"{where}: {value}"
    for name, child in (node.get("properties") or {}).items():
        if name in value:
            yield from misfits(value[name], child, f"{where}.{name}")
    if node["type"] == "array":
        for entry in value:
            yield from misfits(entry, node["items"], where)


def test_misfits_are_seen() -> None:
    node = schema(model.DYNAMIC, "status")
    bad = {"lastGeneration": 1, "conditions": [{"type": "a b", "reason": "", "status": "maybe"}]}
    found = list(misfits(bad, node, "s"))
    assert len(found) == 7
    assert "s lacks secretLease" in found


@pytest.mark.parametrize("fails", [False, True])
def test_every_status_written_fits_the_schema(fails: bool) -> None:
    """The API server refuses the whole status otherwise: a required field, a reason's pattern."""

    async def scene() -> None:
        async with world() as w:
            w.vault.put("app", {"v": "one"})
            destination = {"name": "other/x" if fails else "mine"}
            make = {model.STATIC: w.static, model.DYNAMIC: w.dynamic, model.PKI: w.certificate}
            for kind, add in make.items():
                name = kind.lower()
                targets = [{"kind": "Deployment", "name": "none"}]
                add(
                    name,
                    destination=destination | {"name": destination["name"] + name},
                    rolloutRestartTargets=targets,
                )
                await w.run(kind, name)
            w.make(model.AUTH_GLOBAL, "default", {})
            await w.run(model.AUTH_GLOBAL, "default")
            ref = {"vaultAuthGlobalRef": {"allowDefault": True}} if fails else {}
            w.make(model.AUTH, "mine", {"vaultConnectionRef": f"{HOME}/default", **ref})
            await w.run(model.AUTH, "mine")
            address = "http://127.0.0.1:1" if fails else w.vault.base
            w.make(model.CONNECTION, "mine", {"address": address})
            await w.run(model.CONNECTION, "mine")
            seen = 0
            for (kind, _, name), obj in w.kube.objects.items():
                if status := obj.get("status"):
                    seen += 1
                    assert not list(misfits(status, schema(kind, "status"), kind))
                    if kind in make:
                        assert w.condition(kind, name, "Healthy")["status"] == str(not fails)
            assert seen == 6

    play(scene)


def test_the_status_fields_written_are_declared() -> None:
    """A field that the schema does not know would be dropped by the API server unseen."""
    written = {
        model.CONNECTION: {"valid", "conditions"},
        model.AUTH: {"valid", "error", "specHash", "conditions"},
        model.AUTH_GLOBAL: {"valid", "error"},
        model.STATIC: {"lastGeneration", "secretMAC", "vaultClientMeta", "conditions"},
        model.DYNAMIC: {
            "lastRenewalTime",
            "lastGeneration",
            "secretLease",
            "staticCredsMetaData",
            "lastRuntimePodUID",
            "secretMAC",
            "vaultClientMeta",
            "conditions",
        },
        model.PKI: {
            "serialNumber",
            "expiration",
            "lastGeneration",
            "lastRotation",
            "secretMAC",
            "valid",
            "error",
            "conditions",
        },
        model.TRANSFORMATION: {"valid", "error", "conditions"},
    }
    for kind, fields in written.items():
        assert set(schema(kind, "status")["properties"]) == fields


def test_rights_are_the_calls_and_no_more() -> None:
    cluster_role = next(d for d in documents("10-rbac.yaml") if d["kind"] == "ClusterRole")
    rights = {
        (group, resource): set(rule["verbs"])
        for rule in cluster_role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert "*" not in str(rights)
    for kind in model.KINDS:
        plural = model.RESOURCES[kind].rpartition("/")[2]
        assert rights[model.GROUP, plural] == {"get", "list", "watch", "patch"}
        assert rights[model.GROUP, f"{plural}/status"] == {"patch"}
    assert rights["", "serviceaccounts/token"] == {"create"}
    assert rights["", "serviceaccounts"] == {"get"}
    assert rights["apps", "deployments"] == {"get", "patch"}
    assert ("", "pods") not in rights
    leader = next(d for d in documents("10-rbac.yaml") if d["kind"] == "Role")
    assert leader["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "create", "update"],
        }
    ]


def test_the_pod_is_restricted() -> None:
    pod = documents("20-deployment.yaml")[0]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == "kube-vault-labs/standins:1"
    assert (container["name"], container["command"][-1]) == ("manager", "standins.operator")


def test_everything_bears_the_projects_label() -> None:
    files = ("00-namespace.yaml", "10-rbac.yaml", "20-deployment.yaml")
    for doc in [*CRDS.values(), *(doc for name in files for doc in documents(name))]:
        label = doc["metadata"]["labels"]["app.kubernetes.io/managed-by"]
        assert label == "kube-vault-labs", doc["metadata"]["name"]
