"""The CSI integration without a cluster: what it applies, what it waits for, when it mounts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from harness import integrations
from harness.base.errors import GaveUp, LabError
from harness.base.paths import clusters
from harness.base.progress import Progress
from harness.base.statefile import read_json
from harness.clients.kube import Kube
from harness.integrations import csi, csi_health, rollout
from harness.integrations.base import InstallContext
from harness.servers.flavours import FLAVOURS
from harness.supply import choose
from harness.supply.base import Part, Provided, find_part
from harness.supply.offline.supply import OfflineSupply
from harness.supply.online.supply import OnlineSupply
from tests.fakes.cluster import FakeKube

Data = dict[str, Any]
Rows = list[Data]
Lines = list[str]


def provided(part: str, image: str) -> Provided:
    return Provided(part, "1", "a test", True, "sha256:0", image=image)


class HealthyKube(FakeKube):
    """A cluster that has what a healthy installation leaves, unless a test takes it away.

    What is applied is recorded and changes nothing: no controller would bring its status.
    """

    def __init__(self) -> None:
        super().__init__(namespace="csi")
        driver = {
            "podInfoOnMount": True,
            "requiresRepublish": True,
            "tokenRequests": [{"audience": "vault"}],
        }
        self.has("CSIDriver", csi_health.DRIVER, spec=driver)
        for plural in csi_health.CRDS:
            condition = {"type": "Established", "status": "True"}
            name = f"{plural}.secrets-store.csi.x-k8s.io"
            self.has("CustomResourceDefinition", name, status={"conditions": [condition]})
        for name in csi_health.DAEMON_SETS.values():
            self.has("DaemonSet", name, **daemon_set())
        self.has("Pod", "driver-pod")
        self.drivers = [csi_health.DRIVER]
        self.refusal = "FailedMount: rpc error: missing 'roleName' in SecretProviderClass"

    def has(self, kind: str, name: str, **more: Any) -> None:
        """Put an object there."""
        where = self._where(kind, "")
        self.api.objects.pop((kind, where, name), None)
        metadata = {**more.pop("metadata", {}), "name": name}
        self.api.add(kind, where, {"metadata": metadata, **more})

    def stored(self, kind: str, name: str) -> Data:
        """The object itself, for a test that changes it."""
        return self.api.objects[kind, self._where(kind, ""), name]

    def apply(self, document: Data, namespace: str = "") -> None:
        self.applied.append(document)

    def list(
        self, kind: str, namespace: str = "", selector: str = "", api_version: str = ""
    ) -> Rows:
        if kind == "CSINode":
            drivers = [{"name": name} for name in self.drivers]
            return [{"metadata": {"name": "node"}, "spec": {"drivers": drivers}}]
        return super().list(kind)

    def events(self, name: str, namespace: str = "", uid: str = "") -> Lines:
        trial = [d["metadata"]["name"] for d in self.applied if d["kind"] == "Pod"]
        return [self.refusal] if name in trial else []

    def explain_pod(self, name: str) -> str:
        return f"pod {name}: explained"


def daemon_set(**status: int) -> Data:
    healthy = {
        "observedGeneration": 1,
        "desiredNumberScheduled": 1,
        "updatedNumberScheduled": 1,
        "numberReady": 1,
    }
    return {
        "metadata": {"uid": "u", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "x"}}},
        "status": {**healthy, **status},
    }


@pytest.fixture
def kube() -> HealthyKube:
    return HealthyKube()


@pytest.fixture
def context(tmp_path: Path, kube: HealthyKube) -> InstallContext:
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n", encoding="ascii")
    images = {
        "app": "example.test/app:1",
        "csi-driver": "example.test/driver:7",
        "standins": "example.test/standins:8",
    }
    return InstallContext(
        environment="test",
        folder=tmp_path / "csi",
        network="net",
        labels={},
        kube=lambda namespace: cast(Kube, kube),
        kubeconfig=tmp_path / "kubeconfig",
        provided={part: provided(part, image) for part, image in images.items()},
        flavour=FLAVOURS["vault"],
        new_vault=False,
        vault_ca=tmp_path / "ca.crt",
        vault_pod_addr="https://vault.vault.svc:8200",
    )


def test_every_container_runs_an_image_of_the_supply(context: InstallContext) -> None:
    containers = [
        container
        for document in csi.manifests(context)
        if document["kind"] == "DaemonSet"
        for kind in ("initContainers", "containers")
        for container in document["spec"]["template"]["spec"].get(kind, [])
    ]
    assert {c["image"] for c in containers} == {"example.test/driver:7", "example.test/standins:8"}


def test_kinds_come_before_what_uses_them(context: InstallContext) -> None:
    kinds = [document["kind"] for document in csi.manifests(context)]
    assert kinds.index("CustomResourceDefinition") < kinds.index("CSIDriver")
    assert kinds.index("Namespace") < kinds.index("Role")
    assert kinds.count("DaemonSet") == 2


def test_charts_and_manifests_say_the_same(context: InstallContext) -> None:
    documents = yaml.safe_load_all((clusters() / "csi" / "driver.yaml").read_text("utf-8"))
    by_kind = {document["kind"]: document for document in documents}
    parts = ("csi-driver-crds", "csi-registrar", "csi-livenessprobe")
    with_charts = SimpleNamespace(
        provided={**context.provided, **{p: provided(p, f"a.test/{p}:2") for p in parts}}
    )
    values = csi.driver_values(cast(InstallContext, with_charts))
    driver = by_kind["CSIDriver"]["spec"]
    assert driver["tokenRequests"] == values["tokenRequests"]
    assert driver["requiresRepublish"] is values["enableSecretRotation"]
    arguments = by_kind["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"--rotation-poll-interval={values['rotationPollInterval']}" in arguments
    assert values["fullnameOverride"] == csi_health.DAEMON_SETS["driver"]
    assert values["linux"]["crds"]["image"]["repository"] == "a.test/csi-driver-crds"


def test_upstreams_provider_gets_vaults_address_and_ca(context: InstallContext) -> None:
    image = provided("csi-provider", "docker.io/hashicorp/vault-csi-provider:1.7.4")
    given = SimpleNamespace(
        provided={"csi-provider": image}, vault_pod_addr="https://vault.vault.svc:8200"
    )
    values = csi.provider_values(cast(InstallContext, given))
    assert values["global"]["externalVaultAddr"] == "https://vault.vault.svc:8200"
    assert values["csi"]["image"] == {
        "repository": "docker.io/hashicorp/vault-csi-provider",
        "tag": "1.7.4",
        "pullPolicy": "IfNotPresent",
    }
    (argument,) = values["csi"]["extraArgs"]
    (mount,) = values["csi"]["volumeMounts"]
    assert argument.partition("=")[2].startswith(mount["mountPath"])
    assert not values["server"]["enabled"]
    assert not values["injector"]["enabled"]


def test_each_supply_is_asked_for_parts_that_it_has() -> None:
    offline = integrations.parts_of(["postgres", "csi"])
    online = integrations.parts_of(["postgres", "csi"], upstream=True)
    assert all("recipe" in find_part(part).offline for part in offline)
    assert all(find_part(part).online for part in online)
    assert "standins" in offline
    assert "standins" not in online
    assert "csi-provider" in online


def test_automatic_choice_asks_each_supply_for_its_own_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, tuple[str, ...]] = {}

    def cached(self: OfflineSupply, parts: tuple[str, ...]) -> bool:
        asked["offline"] = parts
        return False

    def missing(self: OnlineSupply, parts: tuple[str, ...]) -> list[Part]:
        asked["online"] = parts
        return []

    monkeypatch.setattr(OfflineSupply, "cached", cached)
    monkeypatch.setattr(OnlineSupply, "missing", missing)
    progress = cast(Progress, SimpleNamespace())
    supply = choose.choose("auto", ["standins"], progress, ["csi-provider"])
    assert supply.name == "online"
    assert asked == {"offline": ("standins",), "online": ("csi-provider",)}


def test_the_first_time_it_proves_itself_by_a_mount(
    context: InstallContext, kube: HealthyKube
) -> None:
    said = csi.CsiIntegration().install(context)
    assert said == "stand-in provider, a trial mount reached it"
    (trial,) = [d["metadata"]["name"] for d in kube.applied if d["kind"] == "Pod"]
    assert ("Pod", trial) in kube.deleted
    assert ("SecretProviderClass", csi_health.PROBE) in kube.deleted
    (trust,) = [d for d in kube.applied if d["kind"] == "ConfigMap"]
    assert trust["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE")


def test_unchanged_daemons_are_not_tried_again(context: InstallContext, kube: HealthyKube) -> None:
    csi.CsiIntegration().install(context)
    kube.applied.clear()
    assert csi.CsiIntegration().install(context) == "stand-in provider, was running"
    assert not [d for d in kube.applied if d["kind"] == "Pod"]
    provider = kube.stored("DaemonSet", "vault-csi-provider")
    provider["metadata"]["generation"] = provider["status"]["observedGeneration"] = 2
    assert "trial mount" in csi.CsiIntegration().install(context)


def test_a_mount_that_nobody_answers_is_no_proof(
    context: InstallContext, kube: HealthyKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (csi_health, rollout):
        monkeypatch.setattr(module, "READY_SECONDS", 0.0)
    kube.refusal = 'FailedMount: provider not found: provider "vault"'
    with pytest.raises(GaveUp, match="answered by the provider") as caught:
        csi.CsiIntegration().install(context)
    assert "explained" in str(caught.value)
    assert ("SecretProviderClass", csi_health.PROBE) in kube.deleted
    assert read_json(context.folder / "proved.json") == {}


def without_registration(kube: HealthyKube) -> None:
    kube.drivers = []


def without_ready_driver(kube: HealthyKube) -> None:
    kube.has("DaemonSet", "csi-secrets-store", **daemon_set(numberReady=0))


def without_provider(kube: HealthyKube) -> None:
    kube.delete("DaemonSet", "vault-csi-provider")


def without_kinds(kube: HealthyKube) -> None:
    kube.delete("CustomResourceDefinition", "secretproviderclasses.secrets-store.csi.x-k8s.io")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (without_kinds, "the kind secretproviderclasses"),
        (without_ready_driver, "csi-secrets-store to be ready.*\n.*driver-pod: explained"),
        (without_provider, "there is no DaemonSet csi/vault-csi-provider"),
        (without_registration, "kubelet to know the driver.*\nnot on node"),
    ],
)
def test_giving_up_names_the_broken_link(
    context: InstallContext,
    kube: HealthyKube,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[HealthyKube], None],
    said: str,
) -> None:
    for module in (csi_health, rollout):
        monkeypatch.setattr(module, "READY_SECONDS", 0.0)
    broken(kube)
    with pytest.raises(GaveUp, match=said):
        csi.CsiIntegration().install(context)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("podInfoOnMount", False, "whose volume"),
        ("requiresRepublish", None, "nothing would rotate"),
        ("tokenRequests", [{"audience": "other"}], "audience vault"),
    ],
)
def test_a_driver_object_of_no_use_is_refused(
    kube: HealthyKube, field: str, value: object, said: str
) -> None:
    found = kube.stored("CSIDriver", csi_health.DRIVER)
    csi_health.check_driver_object(found)
    found["spec"][field] = value
    with pytest.raises(LabError, match=said):
        csi_health.check_driver_object(found)


@pytest.mark.parametrize(
    "status",
    [
        {"numberReady": 0},
        {"desiredNumberScheduled": 0, "updatedNumberScheduled": 0, "numberReady": 0},
        # The controller has not looked at the newest version yet.
        {"observedGeneration": 0},
        {"updatedNumberScheduled": 0},
    ],
)
def test_a_daemon_set_is_ready_when_all_its_pods_are_new_and_ready(status: dict[str, int]) -> None:
    assert csi_health.daemons_ready(daemon_set())
    assert not csi_health.daemons_ready(daemon_set(**status))
    assert not csi_health.daemons_ready(None)
