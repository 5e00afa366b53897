"""The Vault Secrets Operator: custom resources in, Kubernetes Secrets out.

Offline it is this project's stand-in, from plain manifests; online HashiCorp's, from its chart.
Namespace, Deployment and kinds have the same names, so that labs do not depend on it. Readiness
is shown by a trial: a VaultConnection in its namespace must become valid, which takes the API
server, the operator, DNS and Vault's certificate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.base.paths import CHECKOUT
from harness.base.wait import wait_for
from harness.clients.kube import Kube, Object, Objects
from harness.integrations import helm
from harness.integrations.base import ClusterObject, InstallContext, Integration
from harness.integrations.rollout import (
    READY_SECONDS,
    Proof,
    chart_image,
    explain_pods,
    identity,
    load_manifests,
    wait_for_kind,
)

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
LABEL = "control-plane=controller-manager"
CHART = "vault-secrets-operator"
TRIAL_SECONDS = 60.0
TRIAL = "trial"
TRUST = "trial-vault-ca"

# Upstream's defaults are longer, which suits production. In a lab a person waits for the end of
# a replaced lease, and for the next try after an outage.
SUPERSEDED_GRACE = "10s"
BACKOFF_MOST = "10s"


class OperatorIntegration(Integration):
    """Installs the operator, and proves that it watches, answers and reaches Vault."""

    about = "Vault Secrets Operator"
    parts = ("standins",)
    upstream_parts = ("secrets-operator", "secrets-operator-proxy", "helm")
    pod_images = ("secrets-operator", "secrets-operator-proxy", "standins")
    charts = (CHART,)
    objects = (ClusterObject("Deployment", MANAGER, NAMESPACE),)

    def apply(self, context: InstallContext) -> str:
        """Apply the kinds and the operator."""
        if "secrets-operator" in context.provided:
            origin = helm.install(context, CHART, CHART, NAMESPACE, values(context))
            return f"upstream's operator, chart from {origin}"
        kube = context.kube(NAMESPACE)
        for document in manifests(context):
            kube.apply(document)
        return "stand-in operator"

    def wait_until_ready(self, context: InstallContext) -> str:
        """Wait for the kinds and the roll-out, and let it check one connection to Vault."""
        kube = context.kube(NAMESPACE)
        for plural in KINDS:
            wait_for_kind(kube, f"{plural}.{API.partition('/')[0]}")
        wait_for(
            f"Deployment {NAMESPACE}/{MANAGER} to run its present version",
            lambda: rolled_out(kube.get("Deployment", MANAGER)),
            timeout=READY_SECONDS,
            explain=lambda: explain(kube),
            hint=f"kubectl -n {NAMESPACE} describe deployment {MANAGER}",
        )
        certificate = context.vault_ca.read_text(encoding="ascii")
        version = [*identity(kube.get("Deployment", MANAGER)), certificate]
        proof = Proof(context.folder)
        if proof.holds_for(version):
            return "was running"
        _trial(kube, context)
        proof.keep(version)
        return "it reached Vault"


def manifests(context: InstallContext) -> Objects:
    """The stand-in's objects, with the image that the supply brought and a lab's patience."""
    folder = CHECKOUT / "standins" / "operator" / "manifests"
    # The kinds first, and the namespace before what lies in it.
    files = [*sorted((folder / "crds").glob("*.yaml")), *sorted(folder.glob("*.yaml"))]
    found = load_manifests(files, context.provided)
    for document in found:
        if document["kind"] == "Deployment":
            container = document["spec"]["template"]["spec"]["containers"][0]
            container["args"] += [
                f"--superseded-lease-grace={SUPERSEDED_GRACE}",
                f"--backoff-max-interval={BACKOFF_MOST}",
            ]
    return found


def values(context: InstallContext) -> dict[str, Any]:
    """The values of upstream's chart (interfaces.md, section 4.3)."""
    return {
        "fullnameOverride": "vault-secrets-operator",
        "controller": {
            "kubeRbacProxy": {"image": chart_image(context.provided["secrets-operator-proxy"])},
            "manager": {
                "image": chart_image(context.provided["secrets-operator"]),
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
    return explain_pods(kube, LABEL)


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


def _trial(kube: Kube, context: InstallContext) -> None:
    # One that an interrupted `up` left behind would be valid already.
    _end_trial(kube)
    for document in trial_objects(context.vault_pod_addr, context.vault_ca):
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
