"""The injector as a process: start, serve under load, end; and its manifests and README."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from standins.common.logs import Log, configure
from standins.injector import kube, settings
from standins.injector.__main__ import main
from standins.injector.annotations import ANNOTATIONS
from tests.standins.injector.latency import ROOT, injector_process, measure

PACKAGE = ROOT / "standins" / "injector"
MANIFESTS = sorted((PACKAGE / "manifests").glob("*.yaml"))
DOCUMENTS: list[dict[str, Any]] = [
    each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]


@pytest.fixture
def root_log() -> Iterator[None]:
    """The loggers are as they were after a test that configures them."""
    root, ours = logging.getLogger(), logging.getLogger("standins")
    before = (root.handlers, root.level, ours.level)
    yield
    root.handlers, root.level, ours.level = before


def document(kind: str) -> dict[str, Any]:
    """The one manifest of a kind."""
    (found,) = (each for each in DOCUMENTS if each["kind"] == kind)
    return found


def test_fifty_pods_at_once_are_answered_in_time(tmp_path: Path) -> None:
    async def check() -> int | None:
        async with injector_process(tmp_path) as (process, url):
            figures = await measure(process.pid, url, tmp_path / "ca", 200, 50)
            # The API server waits 30 s; a busy machine of two cores stays far below this.
            assert figures.percentile(0.99) < 5000, str(figures)
            process.terminate()
            await asyncio.wait_for(process.wait(), 15)
            return process.returncode

    assert asyncio.run(check()) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no Vault server address configured"),
        (["-vault-address=x", "-log-level=loud"], "'loud' is none of"),
        (["-vault-address=x", "-tls-auto=cfg"], "not in a cluster"),
    ],
)
def test_start_that_cannot_be_is_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], root_log: None
) -> None:
    assert main(["agent-inject", *arguments], {}) == 2
    said = capsys.readouterr().err
    assert said.startswith("injector: ")
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("style", ["standard", "json"])
def test_log_line_cannot_be_forged(
    style: str, capsys: pytest.CaptureFixture[str], root_log: None
) -> None:
    configure("info", style)
    Log("standins.injector.t").info("denied", namespace="a\nforged\ud800")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "a\\nforged" in lines[0]


def test_manifests_bear_the_label_and_the_namespace() -> None:
    cluster_wide = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
    cluster_wide |= {"MutatingWebhookConfiguration"}
    for each in DOCUMENTS:
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "kube-vault-labs", each["kind"]
        namespace = each["metadata"].get("namespace")
        assert namespace == (None if each["kind"] in cluster_wide else "vault-injector")


def test_rights_are_no_more_than_what_is_called() -> None:
    rules = {
        (resource, verb, tuple(rule.get("resourceNames", ())))
        for each in DOCUMENTS
        if each["kind"] in ("Role", "ClusterRole")
        for rule in each["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    config = document("MutatingWebhookConfiguration")["metadata"]["name"]
    assert rules == {
        ("mutatingwebhookconfigurations", "get", (config,)),
        ("mutatingwebhookconfigurations", "patch", (config,)),
        ("secrets", "create", ()),
        ("secrets", "get", (kube.CERT_SECRET,)),
        ("secrets", "update", (kube.CERT_SECRET,)),
        ("leases", "create", ()),
        ("leases", "get", (kube.LEASE,)),
        ("leases", "update", (kube.LEASE,)),
    }


def test_pod_is_restricted_and_its_settings_can_be_read() -> None:
    pod = document("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == "kube-vault-labs/standins:1"
    env = {each["name"]: each.get("value", "") for each in container["env"]}
    given = settings.read([], document("ConfigMap")["data"] | env)
    service = document("Service")["metadata"]
    webhook = document("MutatingWebhookConfiguration")
    assert given.tls_auto == webhook["metadata"]["name"]
    assert f"{service['name']}.$(NAMESPACE).svc" in given.tls_auto_hosts.split(",")
    assert given.use_leader_elector is True
    client = webhook["webhooks"][0]["clientConfig"]["service"]
    assert (client["name"], client["namespace"]) == (service["name"], service["namespace"])
    assert "caBundle" not in webhook["webhooks"][0]["clientConfig"]


def test_injector_does_not_inject_into_itself() -> None:
    labels = document("Deployment")["spec"]["template"]["metadata"]["labels"]
    (hook,) = document("MutatingWebhookConfiguration")["webhooks"]
    (rule,) = hook["objectSelector"]["matchExpressions"]
    assert rule["operator"] == "NotIn"
    assert labels[rule["key"]] in rule["values"]
    for kind in ("Service", "PodDisruptionBudget"):
        selector = document(kind)["spec"]["selector"]
        wanted = selector.get("matchLabels", selector)
        assert wanted.items() <= labels.items()


def test_readme_names_every_annotation_and_variable() -> None:
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([^`\s]+)`", text))
    variables = {each.metadata["variable"] for each in fields(settings.Settings)}
    assert variables <= named
    families = {name + ("NAME" if name.endswith("-") else "") for name in ANNOTATIONS}
    assert families <= named
