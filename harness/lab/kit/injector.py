"""For labs about the Agent injector: what it is called in the cluster, and when it is ready."""

from harness.integrations.injector import DEPLOYMENT, LABEL, NAMESPACE, WEBHOOK, rolled_out

__all__ = ["DEPLOYMENT", "LABEL", "NAMESPACE", "WEBHOOK", "rolled_out"]
