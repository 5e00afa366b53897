"""A PostgreSQL beside the cluster, for the steps about dynamic database credentials.

A testcontainers container on the cluster's network, like Vault: pods reach it as
postgres.database.svc:5432 through a Service and an EndpointSlice, Vault by the
container's name, this machine on a port of 127.0.0.1. Its superuser's password is
random and kept in the state folder.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from harness.base.errors import LabError, NotUp
from harness.base.network import LOCALHOST, free_port, outside_service
from harness.base.paths import PROJECT
from harness.base.redact import Secret
from harness.base.statefile import field, read_record, write_json
from harness.base.wait import wait_for
from harness.integrations.base import InstallContext, Integration
from harness.servers.beside_cluster import server_container
from harness.supply.engine import engine

START_SECONDS = 60.0
PORT = 5432
NAMESPACE = "database"
DATABASE = "shop"
SUPERUSER = "postgres"
RECORD = "server.json"


@dataclass(frozen=True)
class Postgres:
    """How to reach the database server of an environment.

    `network_host` is for Vault's container, `pod_host` for pods (both port 5432),
    `port` is on 127.0.0.1 for this machine. `user` is the superuser.
    """

    network_host: str
    pod_host: str
    port: int
    database: str
    user: str
    password: Secret

    def to_json(self) -> dict[str, Any]:
        """The server as its integration's folder keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Postgres:
        """The reverse of `to_json`. Raises ValueError naming the first field that is wrong."""
        return cls(
            network_host=field(stored, "network_host", str),
            pod_host=field(stored, "pod_host", str),
            port=field(stored, "port", int),
            database=field(stored, "database", str),
            user=field(stored, "user", str),
            password=Secret(field(stored, "password", str)),
        )

    def connect(self, user: str = "", password: str = "") -> psycopg.Connection[tuple[object, ...]]:
        """A connection from this machine; the superuser's unless `user` is given.

        Raises psycopg.OperationalError with the server's own words when it is refused.
        """
        return psycopg.connect(
            host=LOCALHOST,
            port=self.port,
            dbname=self.database,
            user=user or self.user,
            password=password or self.password,
            connect_timeout=5,
            autocommit=True,
        )


class PostgresIntegration(Integration):
    """Installs the database server."""

    about = "PostgreSQL beside the cluster"
    parts = ("postgres",)

    def apply(self, context: InstallContext) -> str:
        """Make or start the container."""
        name = _container_name(context)
        container = engine.container(name)
        record = context.folder / RECORD
        if container and not record.exists():
            container.remove(force=True, v=True)  # interrupted before its password was kept
            container = None
        how = "was running"
        if container is None:
            _create(context, name)
            how = "created"
        elif container.status != "running":
            container.start()
            how = "started"
        return how

    def wait_until_ready(self, context: InstallContext) -> str:
        """Wait until it accepts connections, and give pods a Service for it."""
        name = _container_name(context)
        server = _server(context.folder)
        wait_for(
            f"{name} to accept connections",
            lambda: _answers(server),
            timeout=START_SECONDS,
            transient=(psycopg.OperationalError,),
            explain=lambda: _logs(name),
        )
        running = engine.container(name)
        if running is None:
            raise LabError(f"the container {name} has vanished", hint="./lab up")
        address = running.attrs["NetworkSettings"]["Networks"][context.network]["IPAddress"]
        kube = context.kube(NAMESPACE)
        for document in outside_service(NAMESPACE, "postgres", str(address), PORT, "postgres"):
            kube.apply(document)
        return ""

    def client(self, state: Path, on_call: Callable[[str], None] | None = None) -> Postgres:
        """The server of the environment whose state folder this is. Raises NotUp."""
        return _server(state / self.name)

    def variables(self, state: Path) -> dict[str, str]:
        """POSTGRES, its container and host for Vault; POSTGRES_POD_HOST, that for pods."""
        server = _server(state / self.name)
        return {"POSTGRES": server.network_host, "POSTGRES_POD_HOST": server.pod_host}


def _server(folder: Path) -> Postgres:
    server = read_record(folder / RECORD, Postgres.from_json, "./lab down, then ./lab up")
    if server is None:
        raise NotUp("this environment has no PostgreSQL", hint="./lab up, or ./lab run")
    return server


def _container_name(context: InstallContext) -> str:
    return f"{PROJECT}-{context.environment}-postgres"


def _create(context: InstallContext, name: str) -> None:
    password = secrets.token_hex(16)
    port = free_port()
    context.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    server = Postgres(
        network_host=name,
        pod_host=f"postgres.{NAMESPACE}.svc",
        port=port,
        database=DATABASE,
        user=SUPERUSER,
        password=Secret(password),
    )
    write_json(context.folder / RECORD, server.to_json())
    made = server_container(
        context.provided["postgres"].image,
        name=name,
        hostname="postgres",
        network=context.network,
        labels=context.labels,
        ports={PORT: port},
    ).with_envs(POSTGRES_PASSWORD=password, POSTGRES_DB=DATABASE)
    try:
        made.start()
    finally:
        made.get_docker_client().client.close()


def _answers(server: Postgres) -> bool:
    with server.connect() as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def _logs(name: str) -> str:
    container = engine.container(name)
    return container.logs(tail=20).decode(errors="replace") if container else "no container"
