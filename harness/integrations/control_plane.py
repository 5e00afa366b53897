"""A control plane whose settings labs may change: encryption at rest, audit, a KMS plugin.

There is nothing to install but what the change itself brings: the API server, etcd and the
node are the cluster's own. The node must have the image that the KMS plugin runs from.
"""

from __future__ import annotations

from harness.controlplane.change import ControlPlane
from harness.controlplane.encryption import NEED
from harness.integrations.base import Integration, Site


class ControlPlaneIntegration(Integration):
    """Keeps what the plain settings are."""

    name = NEED
    parts = ("standins",)
    pod_parts = ("standins",)
    about = "a control plane whose settings may change"

    def install(self, site: Site) -> str:
        """Keep the plain manifest; say which settings the API server has.

        What somebody left half-changed was repaired when the cluster came up: a restart of the
        API server now would disturb what is installed at the same time.
        """
        (node,) = (one["metadata"]["name"] for one in site.kube("kube-system").list("Node"))
        plane = ControlPlane(node, site.kubeconfig, site.folder)
        plane.keep_plain()
        return "plain settings" if plane.current().plain else "with a lab's settings"
