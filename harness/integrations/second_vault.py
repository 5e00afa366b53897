"""A second Vault beside the first, for labs about clients of two servers and the outage of one.

The same server as the environment's own, with a CA, keys and an audit file of its own. Pods
reach it as https://second-vault.vault.svc:8200. A lab's snapshots leave it out: a step
that writes to it has an undo of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import NotUp
from harness.base.network import free_port, outside_service
from harness.base.statefile import field, read_record, write_json
from harness.clients.kube import Kube
from harness.clients.vault import VaultHTTP
from harness.integrations.base import InstallContext, Integration
from harness.servers.flavours import FLAVOURS
from harness.servers.vault import VaultServer

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
        record = _Record.read(state / NAME)
        if record is None:
            raise NotUp("this environment has no second Vault", hint="./lab up, or ./lab run")
        flavour = FLAVOURS[record.flavour]
        server = VaultServer(record.environment, flavour, state / NAME, record.network, NAME)
        http = VaultHTTP(server.address(record.port), server.ca, server.token, on_call)
        return cls(http, POD_ADDR, server.ca, server.audit_log, server, record.port)

    def stop(self) -> None:
        """Stop its container: connections of pods time out, no server refuses them."""
        self.server.stop()

    def start(self, kubeconfig: Path) -> None:
        """Start it again, for pods too; it is sealed, as every Vault is after a start."""
        if self.server.start(self.port):
            # The engine may have given it another address.
            _publish(Kube(kubeconfig, "vault", lambda: self.server.labels), self.server)

    def unseal(self) -> None:
        """Unseal with the key that the environment keeps, and wait until it is active."""
        self.server.unseal(self.http)


@dataclass(frozen=True)
class _Record:
    """How the second Vault was made: server.json in the integration's folder."""

    environment: str
    flavour: str
    network: str
    port: int

    @classmethod
    def read(cls, folder: Path) -> _Record | None:
        return read_record(folder / "server.json", cls._from_json, "./lab down, then ./lab up")

    def write(self, folder: Path) -> None:
        write_json(folder / "server.json", asdict(self))

    @classmethod
    def _from_json(cls, stored: dict[str, Any]) -> _Record:
        flavour = field(stored, "flavour", str)
        if flavour not in FLAVOURS:
            raise ValueError(f"there is no flavour {flavour!r}")
        return cls(
            environment=field(stored, "environment", str),
            flavour=flavour,
            network=field(stored, "network", str),
            port=field(stored, "port", int),
        )


class SecondVaultIntegration(Integration):
    """Installs it. Its image is the first Vault's, so it takes no part of its own."""

    about = "a second Vault beside the cluster"

    def apply(self, context: InstallContext) -> str:
        """Make, start or unseal the container, and give pods a Service for it."""
        flavour = context.flavour
        server = VaultServer(context.environment, flavour, context.folder, context.network, NAME)
        context.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        before = _Record.read(context.folder)
        port = before.port if before else free_port()
        image = context.provided[flavour.part].image
        done = server.up(image, port, new_vault=context.new_vault)
        _Record(context.environment, flavour.name, context.network, port).write(context.folder)
        _publish(context.kube("vault"), server)
        return f"{flavour.name} container, {done}"

    def client(self, state: Path, on_call: Callable[[str], None] | None = None) -> SecondVault:
        """The second Vault of the environment whose state folder this is. Raises NotUp."""
        return SecondVault.of(state, on_call)

    def variables(self, state: Path) -> dict[str, str]:
        """Its container, addresses and CA; the administrator's token and the key to unseal it."""
        second = SecondVault.of(state)
        return {
            "SECOND_VAULT": second.server.container_name,
            "SECOND_VAULT_ADDR": second.http.addr,
            "SECOND_VAULT_CACERT": str(second.ca),
            "SECOND_VAULT_POD_ADDR": second.pod_addr,
            "SECOND_VAULT_TOKEN": second.server.keys.learner_token,
            "SECOND_VAULT_KEY": second.server.keys.unseal_key,
        }


def _publish(kube: Kube, server: VaultServer) -> None:
    for document in outside_service("vault", NAME, server.ip(), 8200, "https"):
        kube.apply(document)
