"""What one needs to know to reach a running environment: addresses, files, images.

`harness.environment.environment` produces it, everything that runs a lab consumes it. It is data
only, so that a lab's context does not depend on how an environment is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.base.errors import EnvironmentLacks
from harness.base.redact import Secret


@dataclass(frozen=True)
class Access:
    """How to reach one environment.

    `vault_addr` is https on 127.0.0.1, for this machine; `vault_pod_addr` is what pods
    use; both are verified with `vault_ca`. `api_server` is the address of the
    Kubernetes API as Vault's container sees it. `vault_token` is Vault's root token, for the
    harness alone; `learner_token`, a child of it with the same rights, is for shells,
    notebooks and labs, and can be created again. `audit_log` is Vault's audit file (JSON
    lines) on this machine. `images` maps parts to the references that pods name. `unseal_key` is
    "" for a Vault that is not the environment's own.
    """

    name: str
    state: Path
    kubeconfig: Path
    cluster: str
    api_server: str
    flavour: str
    vault_addr: str
    vault_pod_addr: str
    vault_ca: Path
    vault_token: Secret
    learner_token: Secret
    audit_log: Path
    programs: Path
    images: Mapping[str, str]
    unseal_key: Secret = field(default_factory=lambda: Secret(""))

    def image(self, part: str) -> str:
        """The image reference of `part`. Raises EnvironmentLacks when it was not installed."""
        try:
            return self.images[part]
        except KeyError:
            raise EnvironmentLacks(
                f"this environment has no image {part!r}",
                where=f"environment {self.name}",
                hint=f"./lab up --env {self.name}",
            ) from None

    def shell_variables(self) -> dict[str, str]:
        """What a shell needs for kubectl and vault, without the token (`./lab env`)."""
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "VAULT_ADDR": self.vault_addr,
            "VAULT_CACERT": str(self.vault_ca),
        }
