"""A second Vault beside the first, for what only shows with two: whose outage is whose.

The same server as the environment's own, with a CA, keys and an audit file of its own. Pods
reach it as https://second-vault.vault.svc:8200. Nothing of it is in a lab's inventory: a step
that writes to it undoes that itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import NotUp
from harness.base.network import free_port, outside_service
from harness.base.statefile import read_json, write_json
from harness.clients.kube import Kube
from harness.clients.vault import VaultHTTP
from harness.integrations.base import InstallContext, Integration
from harness.servers.vault import FLAVOURS, VaultServer

NAME = "second-vault"
POD_ADDR = f"https://{NAME}.vault.svc:8200"


@dataclass(frozen=True)
class SecondVault:
    """How to reach it. `http` is its administrator; `audit_log` is its own."""

    http: VaultHTTP
    pod_addr: str
    ca: Path
    audit_log: Path
    server: VaultServer
    port: int

    @classmethod
    def of(cls, state: Path, on_call: Callable[[str], None] | None = None) -> SecondVault:
        """The second Vault of the environment whose state folder this is. Raises NotUp."""
        record = read_json(state / NAME / "server.json")
        if not record:
            raise NotUp("this environment has no second Vault", hint="./lab up, or ./lab run")
        server = VaultServer(
            record["environment"],
            FLAVOURS[record["flavour"]],
            state / NAME,
            record["network"],
            NAME,
        )
        port = int(record["port"])
        http = VaultHTTP(server.address(port), server.ca, server.token, on_call)
        return cls(http, POD_ADDR, server.ca, server.audit_log, server, port)

    def stop(self) -> None:
        """End its container: for pods it is away, without so much as a refusal."""
        self.server.stop()

    def start(self, kubeconfig: Path) -> None:
        """Start it again, for pods too; it is sealed then, as every Vault after a start."""
        if self.server.start(self.port):
            # The engine may have given it another address.
            _lead_pods(Kube(kubeconfig, "vault", lambda: self.server.labels), self.server)

    def unseal(self) -> None:
        """Unseal with the key that the environment keeps, and wait until it is active."""
        self.server.unseal(self.http)


class SecondVaultIntegration(Integration):
    """Installs it. Its image is the first Vault's, so it takes no part of its own."""

    about = "a second Vault beside the cluster"

    def apply(self, context: InstallContext) -> str:
        """Make, start or unseal the container, and lead pods to it."""
        flavour = context.flavour
        server = VaultServer(context.environment, flavour, context.folder, context.network, NAME)
        context.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = context.folder / "server.json"
        port = int(read_json(file).get("port") or free_port())
        made = server.up(context.provided[flavour.part].image, port)
        write_json(
            file,
            {
                "environment": context.environment,
                "flavour": flavour.name,
                "network": context.network,
                "port": port,
            },
        )
        _lead_pods(context.kube("vault"), server)
        return f"{flavour.name} container, " + ("created, unsealed" if made else "was running")

    def client(self, state: Path, on_call: Callable[[str], None] | None = None) -> SecondVault:
        """The second Vault of the environment whose state folder this is. Raises NotUp."""
        return SecondVault.of(state, on_call)


def _lead_pods(kube: Kube, server: VaultServer) -> None:
    for document in outside_service("vault", NAME, server.ip(), 8200, "https"):
        kube.apply(document)
