"""A lab whose way from a pod to a secret is whole, for the tests of the diagnosis.

Everything from the port to the secret is in order. A test breaks one thing and asks what is
found. The server part (TCP, TLS) is a real one on the loopback; Vault and the cluster are
in memory.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.base import certs
from harness.clients.vault_audit import AuditLog
from tests.fakes.cluster import CLUSTER_CA, FakeCluster, FakeKube
from tests.fakes.vault import FakeVault

Data = dict[str, Any]

MOUNT, ROLE, SECRET = "lab01-kubernetes", "app", "lab01-kv/data/app"
API_SERVER = "https://cluster:6443"
POLICY = f'path "{SECRET}" {{ capabilities = ["read"] }}'


CONFIG_PATH = f"auth/{MOUNT}/config"
ROLE_PATH = f"auth/{MOUNT}/role/{ROLE}"
POLICY_PATH = "sys/policies/acl/lab01-app"


class FakeLab:
    """Stands for LabContext, as much of it as a diagnosis uses."""

    namespace = "lab01"

    def __init__(self, folder: Path, port: int) -> None:
        self.http = _good_vault()
        self.cluster = _good_cluster((folder / "ca.crt").read_text())
        self.kube = FakeKube(self.cluster, self.namespace)
        self.lab = SimpleNamespace(needs=())
        self.access = SimpleNamespace(
            name="lab",
            flavour="vault",
            vault_addr=f"https://127.0.0.1:{port}",
            vault_pod_addr="https://vault.vault.svc:8200",
            vault_ca=folder / "ca.crt",
            api_server=API_SERVER,
            audit_log=folder / "audit.log",
        )

    @property
    def role(self) -> Data:
        """The role as Vault stores it."""
        return self.http.documents[ROLE_PATH]

    @property
    def config(self) -> Data:
        """The auth method's configuration as Vault stores it."""
        return self.http.documents[CONFIG_PATH]

    @property
    def version(self) -> Data:
        """The present version of the secret."""
        version: Data = self.http.secrets["lab01-kv/app"]["versions"]["1"]
        return version

    def path(self, word: str, *more: str) -> str:
        return "/".join([f"lab01-{word}", *more])

    def audit_since(self, _number: int) -> AuditLog:
        return AuditLog(self.access.audit_log)

    def quiet(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def _good_vault() -> FakeVault:
    vault = FakeVault()
    vault.methods["token/"] = {"type": "token"}
    vault.enable(f"{MOUNT}/", "kubernetes")
    vault.put(CONFIG_PATH, kubernetes_host=API_SERVER, kubernetes_ca_cert=CLUSTER_CA)
    vault.put(
        ROLE_PATH,
        bound_service_account_names=["app"],
        bound_service_account_namespaces=["lab01"],
        audience="vault",
        token_policies=["lab01-app"],
    )
    vault.put(POLICY_PATH, policy=POLICY)
    vault.put("sys/policies/acl/default", policy="")
    vault.put("sys/audit", **{"file/": {"type": "file"}})
    vault.mount("lab01-kv/", version="2")
    vault.put(SECRET, data={"username": "shop", "password": "s3cr3t-value"})
    vault.calls.clear()
    return vault


def _good_cluster(vault_ca: str) -> FakeCluster:
    cluster = FakeCluster()
    cluster.put("Namespace", "lab01", metadata={"labels": {"team": "shop"}})
    for account in ("app", "reviewer"):
        made = {"creationTimestamp": "2026-01-01T00:00:00Z"}
        cluster.put("ServiceAccount", account, "lab01", metadata=made)
    cluster.put("ConfigMap", "vault-ca", "lab01", data={"ca.crt": vault_ca})
    cluster.put("Service", "vault", "vault")
    endpoints = [{"addresses": ["172.18.0.2"]}]
    label = {"labels": {"kubernetes.io/service-name": "vault"}}
    cluster.put("EndpointSlice", "vault", "vault", metadata=label, endpoints=endpoints)
    return cluster


@contextlib.contextmanager
def tls_server(folder: Path) -> Iterator[int]:
    """A server on the loopback that shakes hands as Vault does; its port."""
    ca, key = folder / "ca.crt", folder / "ca.key"
    certs.make_ca("test CA", ca, key)
    names = ["127.0.0.1", "vault.vault.svc"]
    certs.issue(ca, key, names, folder / "tls.crt", folder / "tls.key", 0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, context), daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        # Closing a listening socket does not wake a thread in accept(); shutdown does.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        with plain, contextlib.suppress(OSError):
            context.wrap_socket(plain, server_side=True).close()
