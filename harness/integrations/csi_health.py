"""Whether the CSI driver and its provider work, link by link, with the broken link named.

The links in order: the kinds are served, the DaemonSets are ready, kubelet knows the driver,
the CSIDriver object asks for what Vault needs. Then the whole chain at once: a pod whose
class names no Vault role must be refused *by the provider*, in words of the provider's. That
passes through kubelet, driver and socket and needs nothing of Vault.
"""

from __future__ import annotations

import secrets
from typing import Any

from harness.base.errors import LabError
from harness.base.wait import wait_for
from harness.clients.kube import Kube, Object
from harness.integrations.base import InstallContext
from harness.integrations.rollout import (
    READY_SECONDS,
    Proof,
    explain_pods,
    identity,
    wait_for_kind,
)

DRIVER = "secrets-store.csi.k8s.io"
API = "secrets-store.csi.x-k8s.io/v1"
CRDS = ("secretproviderclasses", "secretproviderclasspodstatuses")
PROBE = "trial-mount"
# What both providers say to a class without a role, before they ask anybody.
REFUSAL = "missing 'roleName'"

DAEMON_SETS = {"driver": "csi-secrets-store", "provider": "vault-csi-provider"}


def check(context: InstallContext, namespace: str, driver_namespace: str) -> bool:
    """Wait until all links hold; True when a trial mount was made, too.

    The mount is made when the DaemonSets are not the ones it was last made with. Raises
    GaveUp or LabError naming the first link that does not hold.
    """
    driver, provider = context.kube(driver_namespace), context.kube(namespace)
    for plural in CRDS:
        wait_for_kind(driver, f"{plural}.{API.partition('/')[0]}")
    versions = [
        _wait_for_daemons(driver, DAEMON_SETS["driver"]),
        _wait_for_daemons(provider, DAEMON_SETS["provider"]),
    ]
    _wait_for_registration(driver)
    check_driver_object(driver.get("CSIDriver", DRIVER, api_version="storage.k8s.io/v1"))
    proof = Proof(context.folder)
    if proof.holds_for(versions):
        return False
    _mount(provider, context.provided["app"].image)
    proof.keep(versions)
    return True


def check_driver_object(found: Object | None) -> None:
    """Refuse a CSIDriver object that the labs cannot work with. Raises LabError."""
    spec = (found or {}).get("spec") or {}
    audiences = [request.get("audience") for request in spec.get("tokenRequests") or []]
    wanted = {
        "podInfoOnMount: the driver would not know whose volume it fills": spec.get(
            "podInfoOnMount"
        ),
        "requiresRepublish: kubelet would not call again, so nothing would rotate": spec.get(
            "requiresRepublish"
        ),
        "tokenRequests for the audience vault: the provider would get no token of the pod": (
            "vault" in audiences
        ),
    }
    for what, holds in wanted.items():
        if not holds:
            raise LabError(
                f"the CSIDriver {DRIVER} lacks {what}",
                where="clusters/csi/driver.yaml, or the values of upstream's chart",
                hint=f"kubectl get csidriver {DRIVER} -o yaml; then ./lab up",
            )


def daemons_ready(found: Object | None) -> bool:
    """Whether every node runs a ready pod of the DaemonSet's present version."""
    if not found:
        return False
    status: dict[str, Any] = found.get("status") or {}
    desired = status.get("desiredNumberScheduled", 0)
    return bool(
        status.get("observedGeneration") == found["metadata"]["generation"]
        and desired > 0
        and status.get("updatedNumberScheduled") == desired
        and status.get("numberReady") == desired
    )


def _wait_for_daemons(kube: Kube, name: str) -> list[Any]:
    """Wait for the DaemonSet; return what changes when its pods are replaced."""
    wait_for(
        f"DaemonSet {kube.namespace}/{name} to be ready on every node",
        lambda: daemons_ready(kube.get("DaemonSet", name)),
        timeout=READY_SECONDS,
        explain=lambda: _explain_daemons(kube, name),
        hint=f"kubectl -n {kube.namespace} describe daemonset {name}",
    )
    return identity(kube.get("DaemonSet", name))


def _explain_daemons(kube: Kube, name: str) -> str:
    found = kube.get("DaemonSet", name)
    if not found:
        return f"there is no DaemonSet {kube.namespace}/{name}"
    labels = found["spec"]["selector"]["matchLabels"]
    pods = explain_pods(kube, ",".join(f"{key}={value}" for key, value in labels.items()))
    return "\n".join([pods, *(f"event {event}" for event in kube.events(name))])


def _wait_for_registration(kube: Kube) -> None:
    """Kubelet lists in a CSINode which drivers have registered with it."""

    def missing() -> list[str]:
        return [
            node["metadata"]["name"]
            for node in kube.list("CSINode", api_version="storage.k8s.io/v1")
            if DRIVER not in [d["name"] for d in (node.get("spec") or {}).get("drivers") or []]
        ]

    wait_for(
        f"kubelet to know the driver {DRIVER} on every node",
        lambda: not missing(),
        timeout=READY_SECONDS,
        explain=lambda: (
            f"not on {', '.join(missing())}\n" + _explain_daemons(kube, DAEMON_SETS["driver"])
        ),
        hint="the container node-driver-registrar introduces it: see its log",
    )


def _mount(kube: Kube, image: str) -> None:
    """Let a pod ask for a volume, and the provider refuse it for the right reason."""
    # A name of its own: the events of an earlier trial outlive it.
    pod = f"{PROBE}-{secrets.token_hex(3)}"
    kube.apply(
        {
            "apiVersion": API,
            "kind": "SecretProviderClass",
            "metadata": {"name": PROBE},
            "spec": {"provider": "vault", "parameters": {"objects": "[]"}},
        }
    )
    kube.apply(_probe_pod(pod, image))
    try:
        wait_for(
            "a trial mount to be answered by the provider",
            lambda: any(REFUSAL in event for event in kube.events(pod)),
            timeout=READY_SECONDS,
            every=0.5,
            explain=lambda: kube.explain_pod(pod),
            hint="its last FailedMount event names the link: kubelet, driver, socket or provider",
        )
    finally:
        kube.delete("Pod", pod, grace=0)
        kube.delete("SecretProviderClass", PROBE, api_version=API)


def _probe_pod(name: str, image: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "never-starts",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "volumeMounts": [{"name": "trial", "mountPath": "/trial", "readOnly": True}],
                }
            ],
            "volumes": [
                {
                    "name": "trial",
                    "csi": {
                        "driver": DRIVER,
                        "readOnly": True,
                        "volumeAttributes": {"secretProviderClass": PROBE},
                    },
                }
            ],
        },
    }
