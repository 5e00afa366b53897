"""The manifests of driver, registrar and provider: rights, names and working flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from standins.common.flags import read
from standins.csi_provider.flags import Flags
from standins.registrar.__main__ import Flags as RegistrarFlags

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("clusters/csi", "standins/csi_provider/manifests")


def objects(*folders: str) -> list[dict[str, Any]]:
    """Everything that `kubectl apply -f FOLDER` would apply, in its order."""
    files = [file for folder in folders for file in sorted((ROOT / folder).glob("*.yaml"))]
    return [item for file in files for item in yaml.safe_load_all(file.read_text("utf-8"))]


def named(kind: str, name: str) -> dict[str, Any]:
    """The one object of that kind and name."""
    (found,) = (
        item
        for item in objects(*FOLDERS)
        if item["kind"] == kind and item["metadata"]["name"] == name
    )
    return found


def containers(daemonset: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A DaemonSet's containers by name, init containers with them."""
    spec = daemonset["spec"]["template"]["spec"]
    return {each["name"]: each for each in spec.get("initContainers", []) + spec["containers"]}


@pytest.mark.parametrize("folder", FOLDERS)
def test_one_apply_finds_what_it_needs_in_order(folder: str) -> None:
    seen = {"kube-system"}
    for item in objects(folder):
        if item["kind"] == "Namespace":
            seen.add(item["metadata"]["name"])
        assert item["metadata"].get("namespace", "kube-system") in seen
        if item["kind"] == "DaemonSet":
            assert item["spec"]["template"]["spec"]["serviceAccountName"] in seen
        if item["kind"] == "ServiceAccount":
            seen.add(item["metadata"]["name"])


def test_everything_says_whose_it_is() -> None:
    for item in objects(*FOLDERS):
        assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kube-vault-labs"


def test_images_are_the_projects_own() -> None:
    images = {
        each["image"]
        for item in objects(*FOLDERS)
        if item["kind"] == "DaemonSet"
        for each in containers(item).values()
    }
    assert images == {"kube-vault-labs/csi-driver:1.6.1", "kube-vault-labs/standins:1"}


def test_only_the_driver_is_privileged() -> None:
    driver = containers(named("DaemonSet", "csi-secrets-store"))
    provider = containers(named("DaemonSet", "vault-csi-provider"))
    assert driver["secrets-store"]["securityContext"] == {"privileged": True}
    for each in (driver["node-driver-registrar"], provider["open-folder"], provider["provider"]):
        context = each["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
    own = provider["provider"]["securityContext"]
    assert (own["runAsNonRoot"], own["runAsUser"]) == (True, 1000)


def test_the_flags_in_the_manifests_are_understood() -> None:
    provider = containers(named("DaemonSet", "vault-csi-provider"))["provider"]
    assert read(Flags, "provider", provider["args"]).endpoint == "/provider/vault.sock"
    driver = containers(named("DaemonSet", "csi-secrets-store"))
    registrar = read(RegistrarFlags, "registrar", driver["node-driver-registrar"]["args"])
    assert registrar.registration_path.startswith("/var/lib/kubelet/plugins/")
    port = driver["secrets-store"]["livenessProbe"]["httpGet"]["port"]
    assert registrar.http_endpoint == f":{port}"


def test_the_driver_is_known_to_kubelet_for_tokens_and_rotation() -> None:
    assert named("CSIDriver", "secrets-store.csi.k8s.io")["spec"] == {
        "podInfoOnMount": True,
        "attachRequired": False,
        "volumeLifecycleModes": ["Ephemeral"],
        "requiresRepublish": True,
        "tokenRequests": [{"audience": "vault"}],
    }


def test_the_roles_have_upstreams_names() -> None:
    roles = {
        item["metadata"]["name"] for item in objects(*FOLDERS) if item["kind"] == "ClusterRole"
    }
    assert roles == {
        "secretproviderclasses-role",
        "secretproviderclasses-admin-role",
        "secretproviderclasses-viewer-role",
        "secretproviderclasspodstatuses-viewer-role",
        "secretprovidersyncing-role",
        "vault-csi-provider-clusterrole",
    }


def test_secrets_are_within_reach_of_the_sync_role_alone() -> None:
    for item in objects(*FOLDERS):
        for rule in item.get("rules", ()) if item["kind"] == "ClusterRole" else ():
            reaches = "secrets" in rule["resources"] or "*" in rule["resources"]
            assert reaches == (item["metadata"]["name"] == "secretprovidersyncing-role")
    reading, creating = named("Role", "vault-csi-provider-role")["rules"]
    assert (reading["verbs"], reading["resourceNames"]) == (["get"], [Flags().hmac_secret])
    assert creating["verbs"] == ["create"]


@pytest.mark.parametrize(
    ("plural", "fields"),
    [
        ("secretproviderclasses", {"spec": {"provider", "parameters", "secretObjects"}}),
        (
            "secretproviderclasspodstatuses",
            {
                "status": {
                    "podName",
                    "secretProviderClassName",
                    "mounted",
                    "targetPath",
                    "objects",
                }
            },
        ),
    ],
)
def test_both_kinds_in_both_versions(plural: str, fields: dict[str, set[str]]) -> None:
    spec = named("CustomResourceDefinition", f"{plural}.secrets-store.csi.x-k8s.io")["spec"]
    versions = {each["name"]: each for each in spec["versions"]}
    assert [name for name, each in versions.items() if each["storage"]] == ["v1"]
    assert set(versions) == {"v1", "v1alpha1"}
    assert versions["v1alpha1"]["deprecated"]
    for each in versions.values():
        assert each["served"]
        properties = each["schema"]["openAPIV3Schema"]["properties"]
        for section, names in fields.items():
            assert set(properties[section]["properties"]) == names
