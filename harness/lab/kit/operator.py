"""For labs about the Vault Secrets Operator: its names in the cluster, and when it is ready."""

from harness.integrations.operator import API, MANAGER, NAMESPACE, rolled_out
from harness.integrations.second_vault import SecondVault

__all__ = ["API", "MANAGER", "NAMESPACE", "SecondVault", "rolled_out"]
