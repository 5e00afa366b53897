"""What the checks of lab 02 share: names, looks into pods and into etcd, the end of Secrets.

A pod's files are compared by SHA-256, so that no value passes through a check.
"""

from __future__ import annotations

from typing import Any

from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.pods import expect_running

API = "secrets-store.csi.x-k8s.io/v1"
DRIVER = "secrets-store.csi.k8s.io"
DRIVER_NAMESPACE = "kube-system"
CLASS, STATUS = "SecretProviderClass", "SecretProviderClassPodStatus"
MANAGED = "secrets-store.csi.k8s.io/managed"


def way_in(lab: LabContext, name: str = "app", *fields: str) -> LoginPath:
    """How the account `app` gets to a secret, as the steps diagnose it."""
    return LoginPath(
        mount=lab.path("kubernetes"),
        role="app",
        service_account="app",
        reviewer="reviewer",
        secret=lab.path("kv", "data", name),
        fields=fields,
    )


def expect_mounted(lab: LabContext, name: str) -> None:
    """State that a pod runs: kubelet starts none before all its volumes are there."""
    expect_running(lab, name, meaning="all its volumes are mounted")


def pod_of(lab: LabContext, name: str) -> str:
    """The name of the running pod of a Deployment, "" when there is none."""
    for found in lab.kube.list("Pod", selector=f"app={name}"):
        if (found.get("status") or {}).get("phase") == "Running":
            return str(found["metadata"]["name"])
    return ""


def end_secrets(lab: LabContext, classes: set[str], *secrets: str) -> None:
    """Wait until no pod has a volume of these classes, then delete the Secrets made of them.

    Before that the driver would write them again; and one that was updated in the last five
    seconds has no owner, so that nobody else would delete it (see step 7).
    """

    def in_use() -> list[str]:
        found = lab.kube.list(STATUS, api_version=API)
        return [
            status["metadata"]["name"]
            for status in found
            if (status.get("status") or {}).get("secretProviderClassName") in classes
        ]

    lab.wait_for("the volumes to go with their pods", lambda: not in_use(), timeout=90)
    for name in secrets:
        lab.kube.delete("Secret", name)


def driver_pod(lab: LabContext) -> Any:
    """The driver's pod on the only node. Raises IndexError when there is none."""
    pods = lab.kube.list("Pod", DRIVER_NAMESPACE, selector="app=secrets-store-csi-driver")
    return pods[0]
