"""A Vault for the labs as a testcontainers container: TLS, file audit, a random root token.

It has one unseal key, kept in the state folder. It is not Vault's `-dev` mode, which has no
certificate of the labs' CA and loses its data at a restart: this server keeps its data in a
volume, so that it can be stopped, sealed and started again like a real one. `up` brings it
from any state to unsealed; only `down` removes the data.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import requests
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from harness.base.errors import EnvironmentLacks, LabError, UsageError
from harness.base.labels import labels_of
from harness.base.network import LOCALHOST
from harness.base.paths import PROJECT
from harness.base.redact import Secret
from harness.base.wait import wait_for
from harness.clients.vault import VaultHTTP, VaultRefused, VaultUnreachable
from harness.servers.beside_cluster import server_container, why_outdated
from harness.servers.flavours import FLAVOURS, Flavour
from harness.servers.vault_files import STORAGE, Keys, write_configuration
from harness.supply.engine import engine

__all__ = ["FLAVOURS", "Flavour", "VaultServer"]

START_SECONDS = 60.0
STOP_SECONDS = 5
ASK_SECONDS = 5.0
PORT = 8200
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
        self.labels = labels_of(environment)
        self.ca = folder / "ca.crt"
        self.audit_log = folder / "audit" / "audit.log"
        self._keys_file = folder / "keys.json"
        # There while the server is being initialised: its keys are not stored yet.
        self._initialising = folder / "initialising"
        self._environment = environment

    def __repr__(self) -> str:
        return f"<Vault container {self.container_name}>"

    @property
    def keys(self) -> Keys:
        """What opens it. Raises EnvironmentLacks before the server was initialised."""
        keys = Keys.read(self._keys_file, self.flavour.name)
        if keys is None:
            raise EnvironmentLacks(
                "this Vault has no keys on record", where=str(self._keys_file), hint="./lab up"
            )
        return keys

    @property
    def token(self) -> Secret:
        """The root token. Raises EnvironmentLacks before the server was initialised."""
        return self.keys.root_token

    def address(self, port: int) -> str:
        """The address for this machine."""
        return f"https://{LOCALHOST}:{port}"

    def up(self, image: str, port: int, *, new_vault: bool = False) -> str:
        """Bring the server to running, initialised, unsealed, audited; say what was done.

        `port` is the port on 127.0.0.1. A container of another image is replaced by one of
        `image` with the same data. Raises UsageError when this server cannot use the data that
        is there; with `new_vault` the data is removed first.
        """
        if new_vault:
            self.down()
        self._refuse_foreign_data()
        container = self.container()
        done = "was running"
        outdated = why_outdated(container, image, {PORT: port}) if container else ""
        if container and outdated:
            container.stop(timeout=STOP_SECONDS)
            container.remove()
            container, done = None, f"{outdated} on the same data"
        elif container is None:
            done = "created"
        if container is None:
            self._create(image, port)
        elif container.status != "running":
            self._start(container, port)
            done = "started"
        http = VaultHTTP(self.address(port), self.ca, None)
        status = self._seal_status(http)
        if status["initialized"] and not self._keys_file.exists():
            if not self._initialising.exists():
                raise self._needs_new_vault("the keys of this Vault are gone")
            # Interrupted before its keys were stored: this Vault was never opened.
            self.down()
            return self.up(image, port)
        if not status["initialized"]:
            done += ": its volume was gone" if self._keys_file.exists() else ""
            self._initialise(http)
        self._initialising.unlink(missing_ok=True)
        if not status["initialized"] or status["sealed"]:
            self.unseal(http)
            done = f"{done}, unsealed"
        self._audit(http)
        self.ensure_learner_token(http.addr)
        return done

    def ensure_learner_token(self, address: str) -> None:
        """Create the token of shells, notebooks and labs when it is not there (any more).

        It is a child of the root token with the same rights, and the one that people see and
        use: `vault token revoke -self` ends this token and never the environment.
        """
        keys = self.keys
        http = VaultHTTP(address, self.ca, keys.root_token)
        known = http.get(
            "/v1/auth/token/lookup-self",
            token=keys.learner_token,
            allow=range(400, 600),
            timeout=ASK_SECONDS,
        )
        if known.status_code != requests.codes.forbidden:
            return  # it is there, or Vault is sealed
        body = {"id": keys.learner_token, "display_name": "learner", "policies": ["root"]}
        try:
            http.post("/v1/auth/token/create", json=body, timeout=ASK_SECONDS)
        except VaultRefused as error:
            # Another process has just created it.
            if not any("duplicate ID" in said for said in error.errors):
                raise

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
        http.put("/v1/sys/unseal", json={"key": self.keys.unseal_key})
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
        # The audit file stays: labs have remembered how far they have read it.
        for file in (self._keys_file, self._initialising):
            file.unlink(missing_ok=True)

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
        write_configuration(self.folder, self.flavour, self.name, self.container_name)
        made = server_container(
            image,
            name=self.container_name,
            hostname=self.name,
            network=self.network,
            labels=self.labels,
            ports={PORT: port},
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
            # What was created and could not be started; its volume stays.
            created = self.container()
            if created:
                created.remove(force=True)
            raise _start_failed(error, port) from error
        finally:
            made.get_docker_client().client.close()

    def _start(self, container: Container, port: int) -> None:
        try:
            container.start()
        except APIError as error:
            raise _start_failed(error, port) from error

    def _refuse_foreign_data(self) -> None:
        """Raise UsageError when the data on the volume is not what this server can read."""
        keys = Keys.read(self._keys_file, self.flavour.name)
        if keys and keys.flavour != self.flavour.name:
            raise self._needs_new_vault(f"the data of this Vault was written by {keys.flavour}")
        if keys and keys.storage != STORAGE:
            raise self._needs_new_vault(f"the data of this Vault is in the storage {keys.storage}")

    def _needs_new_vault(self, why: str) -> UsageError:
        return UsageError(
            f"{why}: only a new, empty Vault can take its place",
            where=str(self.folder),
            hint=f"./lab up --new-vault --env {self._environment} removes what the old one holds",
        )

    def _seal_status(self, http: VaultHTTP) -> dict[str, Any]:
        def probe() -> dict[str, Any]:
            container = self.container()
            if container is None or container.status in ("exited", "dead"):
                raise LabError(
                    f"{self.container_name} ended as soon as it was started\n{self.logs()}",
                    hint="the last lines above say why; ./lab doctor, or, if the data is not worth"
                    " keeping, ./lab up --new-vault",
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
        self._initialising.touch()
        answer = http.put("/v1/sys/init", json={"secret_shares": 1, "secret_threshold": 1}).json()
        root_token, unseal_key = Secret(answer["root_token"]), Secret(answer["keys_base64"][0])
        Keys(root_token, unseal_key, self.flavour.name).write(self._keys_file)

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


def _start_failed(error: APIError, port: int) -> LabError:
    text = str(error.explanation or error)
    if "port is already allocated" in text or "address already in use" in text:
        return EnvironmentLacks(
            f"port {port} on {LOCALHOST} is in use by another program",
            hint="./lab down, then ./lab up picks a free one; or end that program",
        )
    return LabError(f"the container engine refused to start Vault: {text}", hint="./lab doctor")
