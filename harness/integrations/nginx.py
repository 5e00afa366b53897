"""nginx for the pods of a lab: an image in the node, and nothing that runs by itself."""

from __future__ import annotations

from harness.integrations.base import InstallContext, Integration


class NginxIntegration(Integration):
    """Brings the image; a lab writes the Deployment and the configuration."""

    about = "the web server's image for pods"
    parts = ("nginx",)
    pod_images = ("nginx",)

    def apply(self, context: InstallContext) -> str:
        """Say which image the node has; the environment has put it there already."""
        return context.provided["nginx"].image
