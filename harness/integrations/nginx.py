"""nginx for the pods of a lab: an image in the node, and nothing that runs by itself."""

from __future__ import annotations

from harness.integrations.base import Integration, Site


class NginxIntegration(Integration):
    """Brings the image; a lab writes the Deployment and the configuration."""

    name = "nginx"
    parts = ("nginx",)
    pod_parts = ("nginx",)
    about = "the web server's image for pods"

    def install(self, site: Site) -> str:
        """Say which image the node has; the environment has put it there already."""
        return site.provided["nginx"].image
