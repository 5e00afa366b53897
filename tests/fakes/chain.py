"""A lab whose Vault and cluster answer from tables, for the tests of the diagnosis.

`good()` is a whole chain: everything from the port to the secret is in order. A test
breaks one thing and asks what is found. The server part (TCP, TLS) is a real one on the
loopback; what Vault and the cluster say is looked up.
"""

from __future__ import annotations

import contextlib
import json as jsonlib
import socket
import ssl
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.clients.vault import VaultRefused
from harness.clients.vault_audit import AuditLog
from harness.diagnosis.policy import covers, parse_policy
from harness.servers import certs

Data = dict[str, Any]

MOUNT, ROLE, SECRET = "lab01-kubernetes", "app", "lab01-kv/data/app"
API_SERVER = "https://cluster:6443"
POLICY = f'path "{SECRET}" {{ capabilities = ["read"] }}'


class Answer:
    """As much of a `requests.Response` as is looked at."""

    def __init__(self, status: int, body: Data | None = None) -> None:
        self.status_code = status
        self._body = body or {}

    def json(self) -> Data:
        copy: Data = jsonlib.loads(jsonlib.dumps(self._body))
        return copy


class Vault:
    """Stands for VaultHTTP: tables of what is there, and what was made and not removed."""

    def __init__(self) -> None:
        self.sealed = False
        self.methods: Data = {f"{MOUNT}/": {"type": "kubernetes"}, "token/": {"type": "token"}}
        self.config: Data = {"kubernetes_host": API_SERVER, "kubernetes_ca_cert": "CLUSTER CA\n"}
        self.roles: dict[str, Data] = {
            ROLE: {
                "bound_service_account_names": ["app"],
                "bound_service_account_namespaces": ["lab01"],
                "audience": "vault",
                "token_policies": ["lab01-app"],
            }
        }
        self.policies = {"lab01-app": POLICY, "default": ""}
        self.mounts: Data = {"lab01-kv/": {"type": "kv", "options": {"version": "2"}}}
        self.secrets: dict[str, Data] = {"app": {"username": "shop", "password": "s3cr3t-value"}}
        self.versions: Data = {"1": {"deletion_time": "", "destroyed": False}}
        self.reviews = True
        self.login_says: tuple[int, str] = (200, "")
        self.tokens: dict[str, list[str]] = {}
        self.calls: list[str] = []

    def post(self, path: str, **options: Any) -> Answer:
        return self._answer("POST", path, **options)

    def get(self, path: str, **options: Any) -> Answer:
        return self._answer("GET", path, **options)

    def list(self, path: str, **options: Any) -> Answer:
        return self._answer("LIST", path, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self._answer("DELETE", path, **options)

    def _answer(
        self, method: str, path: str, json: Any = None, allow: Collection[int] = (), **_: Any
    ) -> Answer:
        self.calls.append(f"{method} {path}")
        answer = self._route(method, path.removeprefix("/v1/"), json or {})
        if answer.status_code >= 400 and answer.status_code not in allow:
            raise VaultRefused(method, path, answer.status_code, [], "")
        return answer

    def _route(self, method: str, path: str, body: Data) -> Answer:
        if path == "sys/seal-status":
            return Answer(200, {"initialized": True, "sealed": self.sealed, "progress": 0, "t": 1})
        if path == f"auth/{MOUNT}/login":
            return self._login(body)
        if path.startswith(f"auth/{MOUNT}/role"):
            return self._role(method, path.removeprefix(f"auth/{MOUNT}/role").strip("/"), body)
        if path.startswith("auth/token/"):
            return self._token(path, body)
        if path == "sys/capabilities":
            (asked,) = body["paths"]
            return Answer(200, {"data": {asked: self._allowed(body["token"], asked)}})
        if method == "LIST" and path == "sys/policies/acl":
            return Answer(200, {"data": {"keys": sorted(self.policies)}})
        tables: dict[str, Data | None] = {
            "sys/auth": self.methods,
            f"auth/{MOUNT}/config": self.config,
            "sys/mounts": self.mounts,
            **{f"sys/policies/acl/{n}": {"policy": text} for n, text in self.policies.items()},
            **{f"lab01-kv/data/{n}": {"data": data} for n, data in self.secrets.items()},
            **{
                f"lab01-kv/metadata/{name}": {"current_version": 1, "versions": self.versions}
                for name in self.secrets
            },
        }
        if method == "LIST" and path == "lab01-kv/metadata/":
            return Answer(200, {"data": {"keys": sorted(self.secrets)}})
        found = tables.get(path)
        return Answer(200, {"data": found}) if found else Answer(404, {"errors": []})

    def _role(self, method: str, name: str, body: Data) -> Answer:
        if method == "LIST":
            return Answer(200, {"data": {"keys": sorted(self.roles)}})
        if method == "POST":
            self.roles[name] = body
        if method == "DELETE":
            del self.roles[name]
        if method == "GET" and name not in self.roles:
            return Answer(404, {"errors": []})
        return Answer(200, {"data": self.roles.get(name)})

    def _login(self, body: Data) -> Answer:
        probe = body["role"] != ROLE
        status, says = self.login_says if not probe else (200, "")
        if not self.reviews:
            status, says = 403, "permission denied"
        if status != 200:
            return Answer(status, {"errors": [says]})
        return self._made(self.roles[body["role"]].get("token_policies") or [])

    def _token(self, path: str, body: Data) -> Answer:
        if path == "auth/token/revoke":
            del self.tokens[body["token"]]
            return Answer(204)
        assert path == "auth/token/create-orphan"
        return self._made(body["policies"])

    def _made(self, policies: list[str]) -> Answer:  # type: ignore[valid-type] # list is a verb here
        name = f"token-{len(self.calls)}"
        self.tokens[name] = list_(policies)
        return Answer(200, {"auth": {"client_token": name}})

    def _allowed(self, token: str, path: str) -> list[str]:  # type: ignore[valid-type] # as above
        found = [
            capability
            for name in self.tokens[token]
            for pattern, capabilities in parse_policy(self.policies.get(name, "")).items()
            if covers(pattern, path)
            for capability in capabilities
        ]
        return found or ["deny"]


list_ = list


class Kube:
    """Stands for harness.clients.kube.Kube: objects by (kind, name)."""

    api = None

    def __init__(self, vault_ca: str) -> None:
        account = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}
        self.objects: dict[tuple[str, str], Data] = {
            ("Namespace", "lab01"): {"metadata": {"labels": {"team": "shop"}}},
            ("ServiceAccount", "app"): account,
            ("ServiceAccount", "reviewer"): account,
            ("Service", "vault"): {"metadata": {}},
            ("ConfigMap", "vault-ca"): {"data": {"ca.crt": vault_ca}},
        }
        self.lists: dict[str, Any] = {
            "EndpointSlice": [{"endpoints": [{"addresses": ["172.18.0.2"]}]}]
        }

    def get(self, kind: str, name: str, namespace: str = "") -> Data | None:
        return self.objects.get((kind, name))

    def list(self, kind: str, namespace: str = "", selector: str = "") -> Any:
        return self.lists.get(kind, [])

    def create_token(self, account: str, audience: str = "", namespace: str = "") -> str:
        return f"jwt of {account} for {audience}"

    def ca_certificate(self) -> str:
        return "CLUSTER CA\n"


class FakeLab:
    """Stands for LabContext, as much of it as a diagnosis uses."""

    namespace = "lab01"

    def __init__(self, folder: Path, port: int) -> None:
        self.http = Vault()
        self.kube = Kube((folder / "ca.crt").read_text())
        self.access = SimpleNamespace(
            vault_addr=f"https://127.0.0.1:{port}",
            vault_pod_addr="https://vault.vault.svc:8200",
            vault_ca=folder / "ca.crt",
            api_server=API_SERVER,
            audit_log=folder / "audit.log",
        )

    def path(self, word: str, *more: str) -> str:
        return "/".join([f"lab01-{word}", *more])

    def audit_since(self, _number: int) -> AuditLog:
        return AuditLog(self.access.audit_log)

    def quiet(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


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
