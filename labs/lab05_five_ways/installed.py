"""What a way needs in the cluster, read off the cluster: webhooks, DaemonSets, kinds, rights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.lab.api import LabContext, Object
from labs.lab05_five_ways.ways import CSI, INJECTOR, OPERATOR, Way

RBAC = "rbac.authorization.k8s.io/v1"
KINDS = ("webhooks", "daemonsets", "deployments", "crds", "cluster_roles")


@dataclass(frozen=True)
class Parts:
    """Where the parts of a way are: namespaces with the beginning of their names; kinds."""

    places: tuple[tuple[str, str], ...] = ()
    group: str = ""

    def own(self, namespace: str, name: str) -> bool:
        """Whether an object of this name in this namespace is one of them."""
        return any(namespace == at and name.startswith(begin) for at, begin in self.places)


PARTS = {
    CSI.name: Parts(
        (("csi", ""), ("kube-system", "csi-secrets-store"), ("kube-system", "secrets-store")),
        "secrets-store.csi.x-k8s.io",
    ),
    INJECTOR.name: Parts((("vault-injector", ""),)),
    OPERATOR.name: Parts((("vault-secrets-operator-system", ""),), "secrets.hashicorp.com"),
}


def installed(lab: LabContext, way: Way) -> dict[str, list[str]]:
    """The names of what is installed in the cluster for a way; empty lists for nothing."""
    parts = PARTS.get(way.name, Parts())
    kube = lab.kube

    def names(found: Iterable[Object]) -> list[str]:
        return sorted(
            str(one["metadata"]["name"])
            for one in found
            if parts.own(one["metadata"].get("namespace", ""), one["metadata"]["name"])
        )

    def everywhere(kind: str) -> list[Object]:
        places = dict.fromkeys(namespace for namespace, _ in parts.places)
        return [one for at in places for one in kube.list(kind, at, api_version="apps/v1")]

    return {
        "webhooks": _webhooks(lab, parts),
        "daemonsets": names(everywhere("DaemonSet")),
        "deployments": names(everywhere("Deployment")),
        "crds": sorted(
            str(one["metadata"]["name"])
            for one in kube.list("CustomResourceDefinition", api_version="apiextensions.k8s.io/v1")
            if parts.group and one["spec"]["group"] == parts.group
        ),
        "cluster_roles": _roles(lab, parts),
    }


def pods_in_cluster(lab: LabContext, way: Way) -> list[tuple[str, str]]:
    """Namespace and name of each pod that serves a way."""
    parts = PARTS.get(way.name, Parts())
    places = dict.fromkeys(namespace for namespace, _ in parts.places)
    return [
        (at, str(pod["metadata"]["name"]))
        for at in places
        for pod in lab.kube.list("Pod", at)
        if parts.own(at, pod["metadata"]["name"])
    ]


def _webhooks(lab: LabContext, parts: Parts) -> list[str]:
    found = [
        (str(one["metadata"]["name"]), (hook.get("clientConfig") or {}).get("service") or {})
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for one in lab.kube.list(kind, api_version="admissionregistration.k8s.io/v1")
        for hook in one.get("webhooks") or []
    ]
    return sorted(
        {name for name, at in found if parts.own(at.get("namespace", ""), at.get("name", ""))}
    )


def _roles(lab: LabContext, parts: Parts) -> list[str]:
    """The cluster roles that are bound to a service account of the way."""
    return sorted(
        {
            str(binding["roleRef"]["name"])
            for binding in lab.kube.list("ClusterRoleBinding", api_version=RBAC)
            for subject in binding.get("subjects") or []
            if subject["kind"] == "ServiceAccount"
            and parts.own(subject.get("namespace", ""), subject["name"])
        }
    )
