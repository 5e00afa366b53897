"""The Secrets Store CSI driver and a Vault provider for it, on every node.

The driver (kube-system) is upstream's in both cases. The provider, which reads Vault, differs:
offline it is this project's stand-in, from plain manifests; online HashiCorp's, from upstream's
charts. Names, the namespace `csi` and settings are the same, so that labs do not depend on it.
Readiness is shown by a trial mount (harness.integrations.csi_health).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.base.paths import CHECKOUT, clusters
from harness.clients.kube import Object, Objects
from harness.integrations import csi_health, helm
from harness.integrations.base import ClusterObject, InstallContext, Integration
from harness.integrations.rollout import chart_image, load_manifests

NAMESPACE = "csi"
DRIVER_NAMESPACE = "kube-system"
# Upstream's default is two minutes, which suits production; a lab does not wait so long.
ROTATION_POLL = "10s"
AUDIENCE = "vault"
DRIVER_CHART, PROVIDER_CHART = "secrets-store-csi-driver", "vault"


class CsiIntegration(Integration):
    """Installs the driver and a provider, and proves that a volume reaches the provider."""

    about = "Secrets Store CSI driver and Vault provider"
    parts = ("csi-driver", "standins")
    upstream_parts = (
        "csi-driver",
        "csi-driver-crds",
        "csi-registrar",
        "csi-livenessprobe",
        "csi-provider",
        "helm",
    )
    pod_images = (
        "csi-driver",
        "csi-driver-crds",
        "csi-registrar",
        "csi-livenessprobe",
        "csi-provider",
        "standins",
    )
    charts = (DRIVER_CHART, PROVIDER_CHART)
    objects = (
        ClusterObject("CSIDriver", "secrets-store.csi.k8s.io"),
        ClusterObject("DaemonSet", csi_health.DAEMON_SETS["driver"], DRIVER_NAMESPACE),
        ClusterObject("DaemonSet", csi_health.DAEMON_SETS["provider"], NAMESPACE),
    )

    def apply(self, context: InstallContext) -> str:
        """Apply the namespace, Vault's CA, the driver and a provider."""
        kube = context.kube(NAMESPACE)
        kube.apply(_namespace())
        kube.apply(_trust(context.vault_ca))
        if "csi-provider" not in context.provided:
            for document in manifests(context):
                kube.apply(document)
            return "stand-in provider"
        origins = (_driver_chart(context), _provider_chart(context))
        return f"upstream's provider, charts from {' and '.join(dict.fromkeys(origins))}"

    def wait_until_ready(self, context: InstallContext) -> str:
        """Wait for every link, and mount once for a proof."""
        proved = csi_health.check(context, NAMESPACE, DRIVER_NAMESPACE)
        return "a trial mount reached it" if proved else "was running"


def manifests(context: InstallContext) -> Objects:
    """The objects of the offline installation, naming the images that the supply brought."""
    files = [clusters() / "csi" / f"{name}.yaml" for name in ("crds", "access", "sync", "driver")]
    folder = CHECKOUT / "standins" / "csi_provider" / "manifests"
    files += [folder / f"{name}.yaml" for name in ("access", "provider")]
    return load_manifests(files, context.provided)


def driver_values(context: InstallContext) -> dict[str, Any]:
    """The values of upstream's driver chart: as in clusters/csi, said in the chart's words."""
    return {
        "fullnameOverride": "csi-secrets-store",
        "tokenRequests": [{"audience": AUDIENCE}],
        "syncSecret": {"enabled": True},
        "enableSecretRotation": True,
        "rotationPollInterval": ROTATION_POLL,
        "linux": {
            "image": _image(context, "csi-driver"),
            "crds": {"image": _image(context, "csi-driver-crds")},
            "registrarImage": _image(context, "csi-registrar"),
            "livenessProbeImage": _image(context, "csi-livenessprobe"),
        },
    }


def provider_values(context: InstallContext) -> dict[str, Any]:
    """The values of Vault's chart: the provider alone, for a Vault outside the cluster.

    The agent that the chart puts beside it is left out: it keeps tokens and leases for the
    provider, and a lab wants to see the provider's own calls.
    """
    return {
        "fullnameOverride": "vault",
        "global": {"externalVaultAddr": context.vault_pod_addr},
        "server": helm.NO_SERVER,
        "injector": {"enabled": False},
        "csi": {
            "enabled": True,
            "agent": {"enabled": False},
            "image": _image(context, "csi-provider"),
            "extraArgs": ["--vault-tls-ca-cert=/vault/ca/ca.crt"],
            "volumes": [{"name": "vault-ca", "configMap": {"name": "vault-ca"}}],
            "volumeMounts": [{"name": "vault-ca", "mountPath": "/vault/ca", "readOnly": True}],
        },
    }


def _driver_chart(context: InstallContext) -> str:
    return helm.install(
        context,
        DRIVER_CHART,
        "csi-secrets-store",
        DRIVER_NAMESPACE,
        driver_values(context),
    )


def _provider_chart(context: InstallContext) -> str:
    return helm.install(context, PROVIDER_CHART, "vault-csi", NAMESPACE, provider_values(context))


def _image(context: InstallContext, part: str) -> dict[str, str]:
    return {**chart_image(context.provided[part]), "pullPolicy": "IfNotPresent"}


def _namespace() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            # A folder of the host is mounted here, which no stricter standard allows.
            "labels": {"pod-security.kubernetes.io/enforce": "privileged"},
        },
    }


def _trust(certificate: Path) -> Object:
    """The CA that the provider verifies Vault with. A changed one is used at the next mount."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "vault-ca", "namespace": NAMESPACE},
        "data": {"ca.crt": certificate.read_text(encoding="ascii")},
    }
