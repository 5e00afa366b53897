"""A dev Vault as a testcontainers container: TLS, file audit, a random root token.

"Dev" means made for the labs: one unseal key, kept in the state folder, and nothing to
install. It is not Vault's `-dev` mode, which has no TLS of ours and forgets all on a
restart: this server keeps its data in a volume, so that it can be stopped, sealed and
started again like a real one. `up` brings it from whatever state to unsealed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from harness.base.errors import EnvironmentLacks, LabError
from harness.base.network import LOCALHOST
from harness.base.paths import PROJECT
from harness.base.redact import Secret
from harness.base.statefile import read_json, write_json
from harness.base.wait import wait_for
from harness.clients.kube import ENVIRONMENT_LABEL, MANAGED_BY
from harness.clients.vault import VaultHTTP, VaultUnreachable
from harness.servers import certs
from harness.servers.beside_cluster import server_container
from harness.supply.engine import engine

START_SECONDS = 60.0
STOP_SECONDS = 5
SERVICE_NAMES = ("vault.vault.svc", "vault.vault.svc.cluster.local", "vault.vault")


@dataclass(frozen=True)
class Flavour:
    """What differs between Vault and OpenBao for whoever starts one.

    `home` is the folder in the image that the server's user owns. `declared_audit`:
    OpenBao takes audit devices from its configuration only (interfaces.md 5.5).
    """

    name: str
    part: str
    program: str
    home: str
    declared_audit: bool


FLAVOURS: Mapping[str, Flavour] = {
    "vault": Flavour("vault", "vault", "vault", "/vault", declared_audit=False),
    "openbao": Flavour("openbao", "openbao", "bao", "/openbao", declared_audit=True),
}

# Both images run their server under this user and group ID.
USER = "100:1000"


class VaultServer:
    """One Vault container of an environment; several may live side by side.

    `folder` keeps its CA, certificate, configuration, audit file and keys (0700).
    """

    def __init__(
        self, environment: str, flavour: Flavour, folder: Path, network: str, name: str = "vault"
    ) -> None:
        self.flavour = flavour
        self.folder = folder
        self.network = network
        self.name = name
        self.container_name = f"{PROJECT}-{environment}-{name}"
        self.labels = {MANAGED_BY: PROJECT, ENVIRONMENT_LABEL: environment}
        self.ca = folder / "ca.crt"
        self.audit_log = folder / "audit" / "audit.log"
        self._keys = folder / "keys.json"

    def __repr__(self) -> str:
        return f"<Vault container {self.container_name}>"

    @property
    def token(self) -> Secret:
        """The root token. Raises EnvironmentLacks before the server was initialised."""
        token = read_json(self._keys).get("root_token")
        if not token:
            raise EnvironmentLacks(
                "this Vault has no root token on record", where=str(self._keys), hint="./lab up"
            )
        return Secret(token)

    def address(self, port: int) -> str:
        """The address for this machine."""
        return f"https://{LOCALHOST}:{port}"

    def up(self, image: str, port: int) -> bool:
        """Bring the server to running, initialised, unsealed, audited; True if it was made.

        `port` is the port on 127.0.0.1. A container that is of another image, or was
        interrupted before its keys were stored, is made anew: without keys it is useless.
        """
        made = False
        container = self.container()
        if container and (not read_json(self._keys) or _outdated(container, image)):
            self.down()
            container = None
        if container is None:
            self._create(image, port)
            made = True
        elif container.status != "running":
            self._start(container, port)
        http = VaultHTTP(self.address(port), self.ca, None)
        status = self._seal_status(http)
        if not status["initialized"]:
            self._initialise(http)
        if not status["initialized"] or status["sealed"]:
            self.unseal(http)
        self._audit(http)
        return made

    def stop(self) -> None:
        """End the server's container and keep it: a Vault that is away. Fine when it is."""
        container = self.container()
        if container:
            container.stop(timeout=STOP_SECONDS)

    def start(self, port: int) -> bool:
        """Start the container and wait until the server answers, sealed; False when it ran."""
        container = self.container()
        if container is None:
            raise EnvironmentLacks(f"there is no {self.container_name}", hint="./lab up")
        if container.status == "running":
            return False
        self._start(container, port)
        self._seal_status(VaultHTTP(self.address(port), self.ca, None))
        return True

    def unseal(self, http: VaultHTTP) -> None:
        """Unseal with the stored key and wait until the server is active."""
        key = Secret(read_json(self._keys)["unseal_key"])
        http.put("/v1/sys/unseal", json={"key": key})
        # A new raft server is standby for a moment: 200 is "active" (API, sys/health).
        wait_for(
            f"{self.container_name} to be active",
            lambda: http.get("/v1/sys/health", allow=range(400, 600)).status_code == 200,
            timeout=START_SECONDS,
            every=0.05,
            explain=self.logs,
        )

    def down(self) -> None:
        """Remove the container, its volume and its keys; fine when there is none."""
        container = self.container()
        if container:
            container.remove(force=True, v=True)
        with contextlib.closing(engine.client()) as client, contextlib.suppress(NotFound):
            client.volumes.get(self.container_name).remove(force=True)
        self._keys.unlink(missing_ok=True)
        self.audit_log.unlink(missing_ok=True)

    def container(self) -> Container | None:
        """The container, or None when there is none."""
        return engine.container(self.container_name)

    def ip(self) -> str:
        """The address that pods reach: on the cluster's network."""
        container = self.container()
        if container is None:
            raise EnvironmentLacks(f"{self.container_name} does not run", hint="./lab up")
        return str(container.attrs["NetworkSettings"]["Networks"][self.network]["IPAddress"])

    def logs(self) -> str:
        """The server's last log lines."""
        container = self.container()
        return container.logs(tail=20).decode(errors="replace") if container else "no container"

    # -- inside -------------------------------------------------------------------------

    def _create(self, image: str, port: int) -> None:
        self._write_files()
        made = server_container(
            image,
            name=self.container_name,
            hostname=self.name,
            network=self.network,
            labels=self.labels,
            ports={8200: port},
            entrypoint=[self.flavour.program],
            user=USER,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
        )
        made.with_command(["server", "-config=/lab/config"])
        for sub, mode in (("config", "ro"), ("audit", "rw")):
            made.with_volume_mapping(self.folder / sub, f"/lab/{sub}", engine.bind_mode(mode))
        made.with_volume_mapping(self.container_name, f"{self.flavour.home}/file", "rw")
        client = engine.client()
        client.volumes.create(self.container_name, labels=self.labels)
        client.close()
        try:
            made.start()
        except APIError as error:
            self.down()
            raise _start_failed(error, port) from error
        finally:
            made.get_docker_client().client.close()

    def _start(self, container: Container, port: int) -> None:
        try:
            container.start()
        except APIError as error:
            raise _start_failed(error, port) from error

    def _write_files(self) -> None:
        for sub, mode in (("config", 0o755), ("audit", 0o777)):
            (self.folder / sub).mkdir(parents=True, exist_ok=True)
            # The server's user is another one; the folder above keeps everybody else out.
            (self.folder / sub).chmod(mode)
        ca_key = self.folder / "ca.key"
        if not (self.ca.exists() and ca_key.exists()):
            certs.make_ca(f"{PROJECT} {self.container_name}", self.ca, ca_key)
        names = [self.container_name, self.name, *self._service_names(), "localhost", LOCALHOST]
        tls = self.folder / "config"
        certs.issue(self.ca, ca_key, names, tls / "tls.crt", tls / "tls.key", 0o644)
        (tls / "server.hcl").write_text(self._configuration(), encoding="utf-8")

    def _service_names(self) -> list[str]:
        return [name.replace("vault.", f"{self.name}.", 1) for name in SERVICE_NAMES]

    def _configuration(self) -> str:
        everywhere = "0.0.0.0"  # noqa: S104 # inside the container; the engine publishes 127.0.0.1
        audit = (
            'audit "file" "file" {\n'
            '  options { file_path = "/lab/audit/audit.log", mode = "0644" }\n'
            "}\n"
        )
        return (
            f'ui = true\ndisable_mlock = true\napi_addr = "https://{self.container_name}:8200"\n'
            f'cluster_addr = "https://{LOCALHOST}:8201"\n'
            'storage "raft" {\n'
            f'  path = "{self.flavour.home}/file"\n  node_id = "{self.name}"\n'
            "  performance_multiplier = 1\n}\n"
            f'listener "tcp" {{\n  address = "{everywhere}:8200"\n'
            f'  cluster_address = "{LOCALHOST}:8201"\n'
            '  tls_cert_file = "/lab/config/tls.crt"\n  tls_key_file = "/lab/config/tls.key"\n}\n'
            + (audit if self.flavour.declared_audit else "")
        )

    def _seal_status(self, http: VaultHTTP) -> dict[str, Any]:
        def probe() -> dict[str, Any]:
            container = self.container()
            if container is None or container.status in ("exited", "dead"):
                raise LabError(
                    f"{self.container_name} ended as soon as it was started\n{self.logs()}",
                    hint="the last lines above say why; ./lab doctor",
                )
            answer: dict[str, Any] = http.get("/v1/sys/seal-status").json()
            return answer

        return wait_for(
            f"{self.container_name} to answer",
            probe,
            timeout=START_SECONDS,
            every=0.05,
            transient=(VaultUnreachable, requests.exceptions.RequestException),
            explain=self.logs,
        )

    def _initialise(self, http: VaultHTTP) -> None:
        answer = http.put("/v1/sys/init", json={"secret_shares": 1, "secret_threshold": 1}).json()
        write_json(
            self._keys, {"root_token": answer["root_token"], "unseal_key": answer["keys_base64"][0]}
        )

    def _audit(self, http: VaultHTTP) -> None:
        """Enable the file audit device, as the first request that could be audited."""
        if self.flavour.declared_audit:
            return
        token = self.token
        if "file/" in http.get("/v1/sys/audit", token=token).json()["data"]:
            return
        http.put(
            "/v1/sys/audit/file",
            token=token,
            json={
                "type": "file",
                "options": {"file_path": "/lab/audit/audit.log", "mode": "0644"},
            },
        )


def _outdated(container: Container, image: str) -> bool:
    return bool(container.attrs["Image"] != engine.image_id(image))


def _start_failed(error: APIError, port: int) -> LabError:
    text = str(error.explanation or error)
    if "port is already allocated" in text or "address already in use" in text:
        return EnvironmentLacks(
            f"port {port} on {LOCALHOST} is in use by another program",
            hint="./lab down, then ./lab up picks a free one; or end that program",
        )
    return LabError(f"the container engine refused to start Vault: {text}", hint="./lab doctor")
