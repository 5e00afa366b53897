"""The Secrets Store CSI driver and a Vault provider for it, on every node.

The driver (kube-system) is upstream's in both cases. Who reads Vault differs: offline it is
the stand-in of this project, from plain manifests; online HashiCorp's provider, from
upstream's charts. Either way the names, the namespace `csi` and the settings are the same, so
a lab need not know. That it works is shown by a mount, not by green lights
(harness.integrations.csi_health).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness.base.paths import CHECKOUT, clusters
from harness.clients.kube import Object
from harness.integrations import csi_health, helm
from harness.integrations.base import Integration, Site

NAMESPACE = "csi"
DRIVER_NAMESPACE = "kube-system"
# Upstream's default is two minutes, which suits production; a lab does not wait so long.
ROTATION_POLL = "10s"
AUDIENCE = "vault"

# The images that the manifests name, and the parts that take their place.
_IMAGES = {"kube-vault-labs/csi-driver": "csi-driver", "kube-vault-labs/standins": "standins"}


class CsiIntegration(Integration):
    """Installs the driver and a provider, and proves that a volume reaches the provider."""

    name = "csi"
    parts = ("csi-driver", "standins")
    upstream_parts = (
        "csi-driver",
        "csi-driver-crds",
        "csi-registrar",
        "csi-livenessprobe",
        "csi-provider",
        "helm",
    )
    about = "Secrets Store CSI driver and Vault provider"

    def install(self, site: Site) -> str:
        """Apply what belongs there, wait for it, mount once for a proof."""
        kube = site.kube(NAMESPACE)
        kube.apply(_namespace())
        kube.apply(_trust(site.vault_ca))
        upstream = "csi-provider" in site.provided
        who = "upstream's provider"
        if upstream:
            origins = (_driver_chart(site), _provider_chart(site))
            who += f", charts from {' and '.join(dict.fromkeys(origins))}"
        else:
            for document in manifests(site):
                kube.apply(document)
            who = "stand-in provider"
        proved = csi_health.check(site, NAMESPACE, DRIVER_NAMESPACE)
        return f"{who}, {'a trial mount reached it' if proved else 'was running'}"


def manifests(site: Site) -> list[Object]:
    """The objects of the offline installation, naming the images that the supply brought."""
    files = [clusters() / "csi" / f"{name}.yaml" for name in ("crds", "access", "sync", "driver")]
    folder = CHECKOUT / "standins" / "csi_provider" / "manifests"
    files += [folder / f"{name}.yaml" for name in ("access", "provider")]
    found = [
        document
        for file in files
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if document
    ]
    for document in found:
        pod = ((document.get("spec") or {}).get("template") or {}).get("spec") or {}
        for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
            part = _IMAGES.get(container["image"].rpartition(":")[0])
            if part:
                container["image"] = site.provided[part].image
    return found


def driver_values(site: Site) -> dict[str, Any]:
    """The values of upstream's driver chart: as in clusters/csi, said in the chart's words."""
    return {
        "fullnameOverride": "csi-secrets-store",
        "tokenRequests": [{"audience": AUDIENCE}],
        "syncSecret": {"enabled": True},
        "enableSecretRotation": True,
        "rotationPollInterval": ROTATION_POLL,
        "linux": {
            "image": _image(site, "csi-driver"),
            "crds": {"image": _image(site, "csi-driver-crds")},
            "registrarImage": _image(site, "csi-registrar"),
            "livenessProbeImage": _image(site, "csi-livenessprobe"),
        },
    }


def provider_values(site: Site) -> dict[str, Any]:
    """The values of Vault's chart: the provider alone, for a Vault outside the cluster.

    The agent that the chart puts beside it is left out: it keeps tokens and leases for the
    provider, and a lab wants to see the provider's own calls.
    """
    return {
        "fullnameOverride": "vault",
        "global": {"externalVaultAddr": site.vault_pod_addr},
        # Without these the chart makes an account that may review tokens, for no server.
        "server": {
            "enabled": False,
            "serviceAccount": {"create": False},
            "authDelegator": {"enabled": False},
        },
        "injector": {"enabled": False},
        "csi": {
            "enabled": True,
            "agent": {"enabled": False},
            "image": _image(site, "csi-provider"),
            "extraArgs": ["--vault-tls-ca-cert=/vault/ca/ca.crt"],
            "volumes": [{"name": "vault-ca", "configMap": {"name": "vault-ca"}}],
            "volumeMounts": [{"name": "vault-ca", "mountPath": "/vault/ca", "readOnly": True}],
        },
    }


def _driver_chart(site: Site) -> str:
    return helm.install(
        site,
        "secrets-store-csi-driver",
        "csi-secrets-store",
        DRIVER_NAMESPACE,
        driver_values(site),
    )


def _provider_chart(site: Site) -> str:
    return helm.install(site, "vault", "vault-csi", NAMESPACE, provider_values(site))


def _image(site: Site, part: str) -> dict[str, str]:
    repository, tag = helm.image(site.provided[part].image)
    return {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}


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
