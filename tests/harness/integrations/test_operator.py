"""The operator's integration: what it applies, with which image and patience; the second Vault."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from harness.base.errors import GaveUp, NotUp
from harness.base.statefile import write_json
from harness.clients.kube import Kube, Object
from harness.integrations import InstallContext, find, operator, parts_of, second_vault
from harness.servers.flavours import FLAVOURS
from harness.servers.vault import VaultServer
from harness.snapshot.manifest import clean
from harness.supply.base import Provided, all_parts
from tests.fakes.cluster import FakeKube

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nmade up\n-----END CERTIFICATE-----\n"
IMAGES = {
    "standins": "kube-vault-labs/standins:7",
    "secrets-operator": "docker.io/hashicorp/vault-secrets-operator:1.4.1",
    "secrets-operator-proxy": "quay.io/brancz/kube-rbac-proxy:v0.18.1",
}


class Cluster(FakeKube):
    """Its controllers have always finished; `valid` is what the operator says of a connection."""

    def __init__(self, valid: bool = True) -> None:
        super().__init__(namespace=operator.NAMESPACE)
        self.valid = valid

    def get(
        self, kind: str, name: str, namespace: str = "", api_version: str = ""
    ) -> Object | None:
        if kind == "CustomResourceDefinition":
            return {"status": {"conditions": [{"type": "Established", "status": "True"}]}}
        found = super().get(kind, name, namespace, api_version)
        if found and kind == "Deployment":
            counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 1)
            generation = found["metadata"]["generation"]
            found["status"] = {"observedGeneration": generation, **counts}
        if found and kind == "VaultConnection":
            found["status"] = {"valid": self.valid}
        return found


def context(
    folder: Path, cluster: Cluster | None = None, *, upstream: bool = False
) -> InstallContext:
    """An environment with a CA and images, and a cluster that says yes to everything."""
    ca = folder / "ca.crt"
    ca.write_text(CERTIFICATE)
    parts = [part for part in IMAGES if upstream == (part != "standins")]
    return InstallContext(
        environment="test",
        folder=folder / "operator",
        network="none",
        labels={},
        kube=lambda _namespace: cast(Kube, cluster),
        kubeconfig=folder / "kubeconfig",
        provided={
            part: Provided(part, "1", "here", upstream=True, digest="", image=IMAGES[part])
            for part in parts
        },
        flavour=FLAVOURS["vault"],
        new_vault=False,
        vault_ca=ca,
        vault_pod_addr="https://vault.vault.svc:8200",
    )


def container(found: list[Object]) -> Any:
    """The operator's own container."""
    (deployment,) = [document for document in found if document["kind"] == "Deployment"]
    return deployment["spec"]["template"]["spec"]["containers"][0]


def test_it_is_known_and_its_parts_exist() -> None:
    assert find("operator").name == "operator"
    assert parts_of(["operator", "second-vault"]) == ["standins"]
    assert set(parts_of(["operator"], upstream=True)) <= set(all_parts())


def test_the_stand_in_runs_the_image_that_was_brought_with_a_labs_patience(tmp_path: Path) -> None:
    found = operator.manifests(context(tmp_path))
    assert container(found)["image"] == IMAGES["standins"]
    assert "--superseded-lease-grace=10s" in container(found)["args"]
    assert "--leader-elect" in container(found)["args"]


def test_kinds_and_namespace_come_before_what_needs_them(tmp_path: Path) -> None:
    kinds = [document["kind"] for document in operator.manifests(context(tmp_path))]
    served = kinds.count("CustomResourceDefinition")
    assert served == len(operator.KINDS)
    assert kinds[: served + 1] == served * ["CustomResourceDefinition"] + ["Namespace"]


def test_every_kind_that_is_waited_for_is_in_the_manifests(tmp_path: Path) -> None:
    plurals = {
        document["spec"]["names"]["plural"]
        for document in operator.manifests(context(tmp_path))
        if document["kind"] == "CustomResourceDefinition"
    }
    assert plurals == set(operator.KINDS)


def test_it_is_installed_and_tried_and_the_trial_leaves_nothing(tmp_path: Path) -> None:
    cluster = Cluster()
    said = operator.OperatorIntegration().install(context(tmp_path, cluster))
    assert "stand-in" in said
    trials = [d for d in cluster.applied if d["kind"] == "VaultConnection"]
    assert "trial" in [trial["metadata"]["name"] for trial in trials]
    assert cluster.get("VaultConnection", "trial") is None
    assert cluster.get("Secret", operator.TRUST) is None


def test_an_operator_that_does_not_reach_vault_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "TRIAL_SECONDS", 0.0)
    cluster = Cluster(valid=False)
    with pytest.raises(GaveUp, match="connection to Vault valid"):
        operator.OperatorIntegration().install(context(tmp_path, cluster))
    assert cluster.get("VaultConnection", "trial") is None


def test_upstreams_chart_gets_the_pinned_images(tmp_path: Path) -> None:
    controller = operator.values(context(tmp_path, upstream=True))["controller"]
    assert controller["manager"]["image"] == {
        "repository": "docker.io/hashicorp/vault-secrets-operator",
        "tag": "1.4.1",
    }
    assert controller["kubeRbacProxy"]["image"]["tag"] == "v0.18.1"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"observedGeneration": 1}, False),
        ({"replicas": 3}, False),
        ({"updatedReplicas": 1}, False),
        ({"availableReplicas": 1}, False),
    ],
)
def test_a_rollout_is_over_when_only_ready_new_pods_are_left(
    changed: dict[str, int], expected: bool
) -> None:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 2)
    found = {
        "metadata": {"generation": 2},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 2, **counts, **changed},
    }
    assert operator.rolled_out(found) is expected


def test_nothing_is_no_rollout() -> None:
    assert not operator.rolled_out(None)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_when_a_workload_was_restarted_last_is_not_what_it_is(kind: str) -> None:
    template = {
        "metadata": {
            "labels": {"app": "web"},
            "annotations": {
                "vso.secrets.hashicorp.com/restartedAt": "2026-11-24T08:00:00Z",
                "kubectl.kubernetes.io/restartedAt": "2026-11-24T08:00:00Z",
                "decided": "by somebody",
            },
        },
        "spec": {},
    }
    found = clean({"kind": kind, "metadata": {"name": "web"}, "spec": {"template": template}})
    assert found["spec"]["template"]["metadata"] == {
        "labels": {"app": "web"},
        "annotations": {"decided": "by somebody"},
    }


def test_an_environment_without_a_second_vault_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotUp, match="no second Vault"):
        second_vault.SecondVault.of(tmp_path)


def second(state: Path) -> second_vault.SecondVault:
    """A second Vault on record."""
    folder = state / second_vault.NAME
    folder.mkdir()
    write_json(folder / "keys.json", {"root_token": "hvs." + 24 * "x", "unseal_key": "none"})
    record = {"environment": "test", "flavour": "vault", "network": "none", "port": 18200}
    write_json(folder / "server.json", record)
    return second_vault.SecondVault.of(state)


@pytest.mark.parametrize("stopped", [True, False])
def test_pods_are_led_anew_to_a_second_vault_that_was_stopped(
    stopped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()
    monkeypatch.setattr(second_vault, "Kube", lambda *_: cluster)
    monkeypatch.setattr(VaultServer, "start", lambda self, port: stopped and port == 18200)
    monkeypatch.setattr(VaultServer, "ip", lambda self: "172.18.0.9")
    second(tmp_path).start(tmp_path / "kubeconfig")
    led = cluster.get("EndpointSlice", second_vault.NAME, "vault") or {"endpoints": []}
    assert [entry["addresses"] for entry in led["endpoints"]] == stopped * [["172.18.0.9"]]


def test_the_second_vault_is_reached_by_its_own_port_and_ca(tmp_path: Path) -> None:
    found = second(tmp_path)
    assert found.http.addr == "https://127.0.0.1:18200"
    assert found.ca == tmp_path / second_vault.NAME / "ca.crt"
    assert found.pod_addr == "https://second-vault.vault.svc:8200"
    assert 24 * "x" not in repr(found)
