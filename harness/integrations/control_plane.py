"""A control plane whose settings labs may change: encryption at rest, audit, a KMS plugin.

There is nothing to install but what the change itself brings: the API server, etcd and the
node are the cluster's own. The node must have the image that the KMS plugin runs from.
"""

from __future__ import annotations

from harness.controlplane import ControlPlane
from harness.controlplane_keys import NEED, heal
from harness.integrations.base import Integration, Site
from harness.kube import Kube


class ControlPlaneIntegration(Integration):
    """Looks whether the control plane answers and has a key for everything in etcd."""

    name = NEED
    parts = ("standins",)
    pod_parts = ("standins",)
    about = "a control plane whose settings may change"

    def install(self, site: Site) -> str:
        """Keep what the plain settings are; repair what somebody left half-changed."""
        kube: Kube = site.kube("kube-system")
        (node,) = (one["metadata"]["name"] for one in kube.list("Node"))
        plane = ControlPlane(node, site.kubeconfig, site.folder)
        plane.keep_plain()
        healed = heal(plane)
        return healed or ("plain" if plane.current().plain else "with a lab's settings")
