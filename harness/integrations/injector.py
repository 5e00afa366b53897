"""The Vault Agent injector: a webhook that puts an agent into pods that ask for one.

Offline it is the stand-in of this project, from its own manifests; online HashiCorp's, from
upstream's chart. Names, namespace and settings are the same, so a lab need not know. The
agent that it injects is real in both cases: the image that also runs the server. That the
injector works is shown by a server-side dry run of a pod that asks, not by green lights.
"""

from __future__ import annotations

import hashlib
from typing import Any

import yaml

from harness.base.paths import CHECKOUT
from harness.base.wait import wait_for
from harness.clients.kube import Kube, KubeRefused, Object, Objects
from harness.clients.kube_objects import KubeUnreachable
from harness.integrations import helm
from harness.integrations.base import Integration, Site

NAMESPACE = "vault-injector"
DEPLOYMENT = "vault-agent-injector"
WEBHOOK = "vault-agent-injector-cfg"
LABEL = f"app.kubernetes.io/name={DEPLOYMENT}"
READY_SECONDS = 180.0
# What upstream asks for, 250m, would fill a node of two cores with four pods.
CPU_REQUEST = "20m"

AGENT = "vault-agent"
_STAND_IN_IMAGE = "kube-vault-labs/standins"
# On the pod template, so that a change of the settings or the image replaces the pods.
_CHECKSUM = "kube-vault-labs/settings"


class InjectorIntegration(Integration):
    """Installs the injector and proves that a pod that asks gets an agent."""

    name = "injector"
    parts = ("standins", "vault")
    upstream_parts = ("injector", "vault", "helm")
    pod_parts = ("vault",)
    about = "Vault Agent injector"

    def install(self, site: Site) -> str:
        """Apply what belongs there, wait for it, ask it once for a proof."""
        kube = site.kube(NAMESPACE)
        before = kube.get("Deployment", DEPLOYMENT)
        if "injector" in site.provided:
            origin = helm.install(site, "vault", "vault-injector", NAMESPACE, chart_values(site))
            who = f"upstream's, chart from {origin}"
        else:
            for document in manifests(site):
                kube.apply(document)
            who = "stand-in"
        wait_until_serving(kube)
        _prove(site.kube("default"), site.provided["vault"].image)
        after = kube.get("Deployment", DEPLOYMENT)
        changed = _generation(before) != _generation(after)
        return f"{who}, {'a trial pod got its agent' if changed else 'was running'}"


def manifests(site: Site) -> Objects:
    """The stand-in's objects, with this environment's Vault, CA and images."""
    folder = CHECKOUT / "standins" / "injector" / "manifests"
    found: Objects = [
        document
        for file in sorted(folder.glob("*.yaml"), key=_namespace_first)
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if document
    ]
    for document in found:
        if document["kind"] == "ConfigMap":
            document["data"] |= settings(site)
        if document["kind"] == "Deployment":
            template = document["spec"]["template"]
            template["metadata"]["annotations"] = {_CHECKSUM: _checksum(site)}
            for container in template["spec"]["containers"]:
                if container["image"].rpartition(":")[0] == _STAND_IN_IMAGE:
                    container["image"] = site.provided["standins"].image
    return found


def settings(site: Site) -> dict[str, str]:
    """What differs from environment to environment, as the injector's variables."""
    return {
        "AGENT_INJECT_VAULT_ADDR": site.vault_pod_addr,
        "AGENT_INJECT_VAULT_CACERT_BYTES": site.vault_ca.read_text(encoding="ascii"),
        "AGENT_INJECT_VAULT_IMAGE": site.provided["vault"].image,
        "AGENT_INJECT_CPU_REQUEST": CPU_REQUEST,
    }


def chart_values(site: Site) -> dict[str, Any]:
    """The values of Vault's chart: the injector alone, for a Vault outside the cluster."""
    return {
        "fullnameOverride": "vault",
        "global": {"externalVaultAddr": site.vault_pod_addr},
        "server": {"enabled": False},
        "csi": {"enabled": False},
        "injector": {
            "enabled": True,
            "replicas": 2,
            # The chart would never put two replicas on one node, and a lab has one.
            "affinity": "",
            "image": _image(site, "injector") | {"pullPolicy": "IfNotPresent"},
            "agentImage": _image(site, "vault"),
            "agentDefaults": {"cpuRequest": CPU_REQUEST},
            "webhook": {"failurePolicy": "Ignore"},
            "extraEnvironmentVars": {
                "AGENT_INJECT_VAULT_CACERT_BYTES": site.vault_ca.read_text(encoding="ascii")
            },
        },
    }


def wait_until_serving(kube: Kube) -> None:
    """Wait until every replica is the present version, ready, and no older pod is left.

    A pod that is on its way out serves on for some seconds, with the settings it had.
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


def _namespace_first(file: Any) -> tuple[bool, str]:
    """The webhook comes last: nobody is asked before somebody answers."""
    return file.name.endswith("webhook.yaml"), file.name


def _checksum(site: Site) -> str:
    told = [*sorted(settings(site).items()), site.provided["standins"].digest]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _generation(deployment: Object | None) -> object:
    metadata = (deployment or {}).get("metadata") or {}
    return metadata.get("uid"), metadata.get("generation")


def _explain(kube: Kube) -> str:
    pods = kube.list("Pod", selector=LABEL)
    lines = [kube.explain_pod(pod["metadata"]["name"]) for pod in pods]
    return "\n".join([*lines, *(f"event {event}" for event in kube.events(DEPLOYMENT))])


def _image(site: Site, part: str) -> dict[str, str]:
    repository, tag = helm.image(site.provided[part].image)
    return {"repository": repository, "tag": tag}
