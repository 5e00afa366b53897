"""A control plane whose settings labs may change: encryption at rest, audit, a KMS plugin.

There is nothing to install but what the change itself brings: the API server, etcd and the
node are the cluster's own. The node must have the image that the KMS plugin runs from.
"""

from __future__ import annotations

from harness.controlplane.change import ControlPlane
from harness.integrations.base import InstallContext, Integration


class ControlPlaneIntegration(Integration):
    """Keeps the plain settings."""

    about = "a control plane whose settings may change"
    parts = ("standins",)
    pod_images = ("standins",)

    def apply(self, context: InstallContext) -> str:
        """Keep the plain manifest; say which settings the API server has.

        A change that was left half done was repaired when the cluster came up: a restart of
        the API server now would disturb what is installed at the same time.
        """
        (node,) = (one["metadata"]["name"] for one in context.kube("kube-system").list("Node"))
        plane = ControlPlane(node, context.kubeconfig, context.folder)
        plane.keep_plain()
        return "plain settings" if plane.current().plain else "with a lab's settings"
