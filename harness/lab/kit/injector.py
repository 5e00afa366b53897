"""For labs about the Agent injector: its names in the cluster, and when it is ready."""

from harness.integrations.injector import DEPLOYMENT, LABEL, NAMESPACE, WEBHOOK, rolled_out

__all__ = ["DEPLOYMENT", "LABEL", "NAMESPACE", "WEBHOOK", "rolled_out"]
