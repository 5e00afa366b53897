"""The Vault Agent injector: a webhook that adds an agent to pods that ask for one.

Offline it is this project's stand-in, from its own manifests; online HashiCorp's, from
upstream's chart. Names, namespace and settings are the same, so that labs do not depend on it. The
agent that it injects is real in both cases: the image that also runs the server. Readiness
is shown by a server-side dry run of a pod that asks for an agent, not by the Deployment's
status alone.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from harness.base.paths import CHECKOUT
from harness.base.wait import wait_for
from harness.clients.kube import Kube, KubeRefused, Object, Objects
from harness.clients.kube_objects import KubeUnreachable
from harness.integrations import helm
from harness.integrations.base import ClusterObject, InstallContext, Integration
from harness.integrations.rollout import (
    READY_SECONDS,
    Proof,
    chart_image,
    explain_pods,
    identity,
    load_manifests,
)

NAMESPACE = "vault-injector"
DEPLOYMENT = "vault-agent-injector"
WEBHOOK = "vault-agent-injector-cfg"
LABEL = f"app.kubernetes.io/name={DEPLOYMENT}"
# Upstream's default, 250m, would fill a node of two cores with four pods.
CPU_REQUEST = "20m"

AGENT = "vault-agent"
CHART = "vault"
# On the pod template, so that a change of the settings or the image replaces the pods.
_CHECKSUM = "kube-vault-labs/settings"


class InjectorIntegration(Integration):
    """Installs the injector and proves that a pod that asks gets an agent."""

    about = "Vault Agent injector"
    parts = ("standins", "vault")
    upstream_parts = ("injector", "vault", "helm")
    pod_images = ("injector", "standins", "vault")
    charts = (CHART,)
    objects = (
        ClusterObject("MutatingWebhookConfiguration", WEBHOOK),
        ClusterObject("Deployment", DEPLOYMENT, NAMESPACE),
    )

    def apply(self, context: InstallContext) -> str:
        """Apply the server with its webhook."""
        if "injector" in context.provided:
            values = chart_values(context)
            origin = helm.install(context, CHART, "vault-injector", NAMESPACE, values)
            return f"upstream's, chart from {origin}"
        kube = context.kube(NAMESPACE)
        for document in manifests(context):
            kube.apply(document)
        return "stand-in"

    def wait_until_ready(self, context: InstallContext) -> str:
        """Wait for the roll-out, and let a trial pod that is never created get its agent."""
        kube = context.kube(NAMESPACE)
        wait_until_serving(kube)
        image = context.provided["vault"].image
        _prove(context.kube("default"), image)
        proof = Proof(context.folder)
        version = [*identity(kube.get("Deployment", DEPLOYMENT)), image]
        if proof.holds_for(version):
            return "was running"
        proof.keep(version)
        return "a trial pod got its agent"


def manifests(context: InstallContext) -> Objects:
    """The stand-in's objects, with this environment's Vault, CA and images."""
    folder = CHECKOUT / "standins" / "injector" / "manifests"
    files = sorted(folder.glob("*.yaml"), key=_webhook_last)
    found = load_manifests(files, context.provided)
    for document in found:
        if document["kind"] == "ConfigMap":
            document["data"] |= settings(context)
        if document["kind"] == "Deployment":
            template = document["spec"]["template"]
            template["metadata"]["annotations"] = {_CHECKSUM: _checksum(context)}
    return found


def settings(context: InstallContext) -> dict[str, str]:
    """What differs from environment to environment, as the injector's variables."""
    return {
        "AGENT_INJECT_VAULT_ADDR": context.vault_pod_addr,
        "AGENT_INJECT_VAULT_CACERT_BYTES": context.vault_ca.read_text(encoding="ascii"),
        "AGENT_INJECT_VAULT_IMAGE": context.provided["vault"].image,
        "AGENT_INJECT_CPU_REQUEST": CPU_REQUEST,
    }


def chart_values(context: InstallContext) -> dict[str, Any]:
    """The values of Vault's chart: the injector alone, for a Vault outside the cluster."""
    return {
        "fullnameOverride": "vault",
        "global": {"externalVaultAddr": context.vault_pod_addr},
        "server": helm.NO_SERVER,
        "csi": {"enabled": False},
        "injector": {
            "enabled": True,
            "replicas": 2,
            # The chart never puts two replicas on one node, and the cluster has one node.
            "affinity": "",
            "image": chart_image(context.provided["injector"]) | {"pullPolicy": "IfNotPresent"},
            "agentImage": chart_image(context.provided["vault"]),
            "agentDefaults": {"cpuRequest": CPU_REQUEST},
            "webhook": {"failurePolicy": "Ignore"},
            "extraEnvironmentVars": {
                "AGENT_INJECT_VAULT_CACERT_BYTES": context.vault_ca.read_text(encoding="ascii")
            },
        },
    }


def wait_until_serving(kube: Kube) -> None:
    """Wait until every replica is the present version, ready, and no older pod is left.

    A terminating pod still serves for some seconds, with the settings that it started with.
    Raises GaveUp with the pods' events and logs.
    """
    wait_for(
        f"Deployment {kube.namespace}/{DEPLOYMENT} to be rolled out",
        lambda: rolled_out(kube.get("Deployment", DEPLOYMENT), kube.list("Pod", selector=LABEL)),
        timeout=READY_SECONDS,
        explain=lambda: _explain(kube),
        hint=f"kubectl -n {kube.namespace} describe deployment {DEPLOYMENT}",
    )


def rolled_out(deployment: Object | None, pods: Objects) -> bool:
    """Whether the Deployment has all its replicas, of its present version, and no others."""
    if not deployment:
        return False
    status: dict[str, Any] = deployment.get("status") or {}
    wanted = deployment["spec"]["replicas"]
    return bool(
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and wanted > 0
        and status.get("updatedReplicas") == wanted
        and status.get("availableReplicas") == wanted
        and len(pods) == wanted
    )


def trial_pod() -> Object:
    """A pod that asks for an agent. It is never created."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "injector-trial",
            "annotations": {
                "vault.hashicorp.com/agent-inject": "true",
                "vault.hashicorp.com/role": "trial",
            },
        },
        "spec": {"containers": [{"name": "app", "image": "trial"}]},
    }


def agent_image(pod: Object) -> str:
    """The image of the agent in a pod, "" when it has none."""
    containers: Objects = pod["spec"]["containers"]
    return next((str(one["image"]) for one in containers if one["name"] == AGENT), "")


def _prove(kube: Kube, image: str) -> None:
    """Let the API server say what it would store, and look for the agent of this environment."""

    wait_for(
        f"a pod that asks for an agent to get one from {image}",
        lambda: agent_image(kube.would_create(trial_pod())) == image,
        timeout=READY_SECONDS,
        transient=(KubeRefused, KubeUnreachable),
        hint=f"kubectl -n {NAMESPACE} logs deployment/{DEPLOYMENT}; "
        f"kubectl get mutatingwebhookconfiguration {WEBHOOK} -o yaml",
    )


def _webhook_last(file: Path) -> tuple[bool, str]:
    """The API server must not call a webhook that no pod serves yet."""
    return file.name.endswith("webhook.yaml"), file.name


def _checksum(context: InstallContext) -> str:
    inputs = [*sorted(settings(context).items()), context.provided["standins"].digest]
    return hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]


def _explain(kube: Kube) -> str:
    events = (f"event {event}" for event in kube.events(DEPLOYMENT))
    return "\n".join([explain_pods(kube, LABEL), *events])
