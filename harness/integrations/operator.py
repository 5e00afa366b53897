"""The Vault Secrets Operator: custom resources in, Kubernetes Secrets out.

Offline it is the stand-in of this project, from plain manifests; online HashiCorp's, from
its chart. The names of namespace, Deployment and kinds are the same, so a lab need not know.
That it works is shown by a trial: a VaultConnection in its namespace must become valid, which
passes through the API server, the operator, DNS and Vault's certificate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness.base.paths import CHECKOUT
from harness.base.wait import wait_for
from harness.clients.kube import Kube, Object
from harness.integrations import helm
from harness.integrations.base import Integration, Site

NAMESPACE = "vault-secrets-operator-system"
MANAGER = "vault-secrets-operator-controller-manager"
API = "secrets.hashicorp.com/v1beta1"
KINDS = (
    "secrettransformations",
    "vaultauthglobals",
    "vaultauths",
    "vaultconnections",
    "vaultdynamicsecrets",
    "vaultpkisecrets",
    "vaultstaticsecrets",
)
READY_SECONDS = 180.0
TRIAL_SECONDS = 60.0
TRIAL = "trial"
TRUST = "trial-vault-ca"

# Both are longer by default, which suits production. In a lab somebody waits for the end of a
# replaced lease, and for the next try after an outage.
SUPERSEDED_GRACE = "10s"
BACKOFF_MOST = "10s"


class OperatorIntegration(Integration):
    """Installs the operator, and proves that it watches, answers and reaches Vault."""

    name = "operator"
    parts = ("standins",)
    upstream_parts = ("secrets-operator", "secrets-operator-proxy", "helm")
    about = "Vault Secrets Operator"

    def install(self, site: Site) -> str:
        """Apply what belongs there, wait for it, have it check one connection to Vault."""
        kube = site.kube(NAMESPACE)
        if "secrets-operator" in site.provided:
            origin = helm.install(
                site, "vault-secrets-operator", "vault-secrets-operator", NAMESPACE, values(site)
            )
            who = f"upstream's operator, chart from {origin}"
        else:
            for document in manifests(site):
                kube.apply(document)
            who = "stand-in operator"
        for plural in KINDS:
            _wait_for_kind(kube, f"{plural}.{API.partition('/')[0]}")
        wait_for(
            f"Deployment {NAMESPACE}/{MANAGER} to run its present version",
            lambda: rolled_out(kube.get("Deployment", MANAGER)),
            timeout=READY_SECONDS,
            explain=lambda: explain(kube),
            hint=f"kubectl -n {NAMESPACE} describe deployment {MANAGER}",
        )
        _trial(kube, site)
        return f"{who}, it reached Vault"


def manifests(site: Site) -> list[Object]:
    """The stand-in's objects, with the image that the supply brought and a lab's patience."""
    folder = CHECKOUT / "standins" / "operator" / "manifests"
    # The kinds first, and the namespace before what lies in it.
    files = [*sorted((folder / "crds").glob("*.yaml")), *sorted(folder.glob("*.yaml"))]
    found = [
        document
        for file in files
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if document
    ]
    for document in found:
        if document["kind"] == "Deployment":
            container = document["spec"]["template"]["spec"]["containers"][0]
            container["image"] = site.provided["standins"].image
            container["args"] += [
                f"--superseded-lease-grace={SUPERSEDED_GRACE}",
                f"--backoff-max-interval={BACKOFF_MOST}",
            ]
    return found


def values(site: Site) -> dict[str, Any]:
    """The values of upstream's chart (interfaces.md, section 4.3)."""
    return {
        "fullnameOverride": "vault-secrets-operator",
        "controller": {
            "kubeRbacProxy": {"image": _image(site, "secrets-operator-proxy")},
            "manager": {
                "image": _image(site, "secrets-operator"),
                "backoffOnSecretSourceError": {"maxInterval": BACKOFF_MOST},
            },
        },
        "tests": {"enabled": False},
    }


def rolled_out(found: Object | None) -> bool:
    """Whether all pods of the Deployment are of its present version and available."""
    if not found:
        return False
    status: dict[str, Any] = found.get("status") or {}
    wanted = found["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration") == found["metadata"]["generation"]
        and status.get("replicas") == wanted
        and status.get("updatedReplicas") == wanted
        and status.get("availableReplicas") == wanted
    )


def explain(kube: Kube) -> str:
    """Events and last log lines of the operator's pods."""
    pods = kube.list("Pod", NAMESPACE, "control-plane=controller-manager")
    if not pods:
        return f"there is no pod of {MANAGER}"
    return "\n".join(kube.explain_pod(pod["metadata"]["name"], NAMESPACE) for pod in pods)


def _image(site: Site, part: str) -> dict[str, str]:
    repository, tag = helm.image(site.provided[part].image)
    return {"repository": repository, "tag": tag}


def _wait_for_kind(kube: Kube, name: str) -> None:
    def established() -> bool:
        found = kube.get("CustomResourceDefinition", name)
        conditions = ((found or {}).get("status") or {}).get("conditions") or []
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    wait_for(
        f"the kind {name} to be served",
        established,
        timeout=READY_SECONDS,
        hint=f"kubectl describe crd {name}",
    )


def trial_objects(address: str, certificate: Path) -> list[Object]:
    """A CA and a connection that is checked with it."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": TRUST, "namespace": NAMESPACE},
            "stringData": {"ca.crt": certificate.read_text(encoding="ascii")},
        },
        {
            "apiVersion": API,
            "kind": "VaultConnection",
            "metadata": {"name": TRIAL, "namespace": NAMESPACE},
            "spec": {"address": address, "caCertSecretRef": TRUST},
        },
    ]


def _trial(kube: Kube, site: Site) -> None:
    # One that an interrupted `up` left behind would be valid already.
    _end_trial(kube)
    for document in trial_objects(site.vault_pod_addr, site.vault_ca):
        kube.apply(document)
    try:
        wait_for(
            "the operator to find its connection to Vault valid",
            lambda: _connection(kube).get("status", {}).get("valid") is True,
            timeout=TRIAL_SECONDS,
            explain=lambda: f"{_connection(kube).get('status')}\n{explain(kube)}",
            hint=f"kubectl -n {NAMESPACE} describe vaultconnection {TRIAL}",
        )
    finally:
        _end_trial(kube)


def _end_trial(kube: Kube) -> None:
    kube.delete("VaultConnection", TRIAL, NAMESPACE, API)
    wait_for(
        "the trial connection to be gone",
        lambda: not _connection(kube),
        timeout=TRIAL_SECONDS,
        explain=lambda: explain(kube),
        hint="its finalizer is the operator's: is the operator running?",
    )
    kube.delete("Secret", TRUST, NAMESPACE)


def _connection(kube: Kube) -> Object:
    return kube.get("VaultConnection", TRIAL, NAMESPACE, API) or {}
