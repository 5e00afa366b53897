"""A node with a kubelet, an etcd and an API server, all in memory, for tests of the control plane.

The API server does what matters here: it reads its manifest and its configuration when it
starts, ends when they are bad, writes with the first provider, reads with any, and is ready
only if it can read everything. A value is the provider's prefix, a mark of the key, the object.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.controlplane import apiserver
from harness.controlplane.apiserver import MANIFEST
from harness.controlplane.change import ControlPlane
from harness.controlplane.node import Node
from harness.controlplane.settings import SOCKETS, ManagedFlags, Settings

PLAIN_MANIFEST = """\
apiVersion: v1
kind: Pod
metadata: {name: kube-apiserver, namespace: kube-system}
spec:
  containers:
  - name: kube-apiserver
    command: [kube-apiserver, --secure-port=6443]
    volumeMounts: [{mountPath: /etc/ssl/certs, name: ca-certs, readOnly: true}]
  volumes: [{name: ca-certs, hostPath: {path: /etc/ssl/certs}}]
status: {}
"""
SIZES = {"aescbc": (16, 24, 32), "aesgcm": (16, 24, 32), "secretbox": (32,)}


def secret_key(name: str, size: int = 32) -> str:
    """An encryption key that is the same for the same name."""
    return base64.b64encode(name.encode().ljust(size, b".")[:size]).decode()


def provider(kind: str, *names: str) -> dict[str, Any]:
    """A provider: `provider("aescbc", "one", "two")`, `provider("kms", "vault")`."""
    if kind == "identity":
        return {"identity": {}}
    if kind == "kms":
        return {"kms": {"apiVersion": "v2", "name": names[0], "endpoint": f"unix://{SOCKETS}/v"}}
    return {kind: {"keys": [{"name": name, "secret": secret_key(name)} for name in names]}}


def configuration(*providers: dict[str, Any], resource: str = "secrets") -> dict[str, Any]:
    """An EncryptionConfiguration with these providers for one resource."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": [resource], "providers": list(providers)}],
    }


class FakeNode(Node):
    """Files, etcd and processes. `vault` tells whether the KMS plugin can decrypt."""

    def __init__(self, name: str = "node") -> None:
        super().__init__(name)
        self.files: dict[str, str] = {MANIFEST: PLAIN_MANIFEST}
        self.store: dict[str, bytes] = {}
        self.vault = True
        self.starts: list[str] = []
        self.renewed = 0
        self.interrupt = False
        self._log: list[str] = []
        self.loaded: dict[str, list[dict[str, Any]]] | None = None
        self.start()

    # -- what ControlPlane asks of a node ------------------------------------------------

    def run(self, script: str, **variables: str) -> bytes:
        if "*.sock" in script:
            return b"/run/kms/v.sock\n" if self._plugin_runs() else b""
        return b""

    def read(self, *files: str) -> dict[str, str]:
        return {name: self.files[name] for name in files if name in self.files}

    def write_all(self, files: Mapping[str, str], mode: str = "600", owner: str = "0:0") -> None:
        self.files |= files

    def remove(self, *paths: str) -> None:
        for path in paths:
            for name in list(self.files):
                if name == path or name.startswith(f"{path}/"):
                    del self.files[name]

    def exchange(self, files: Mapping[str, str]) -> None:
        self.loaded = None
        if self.interrupt:
            self.interrupt = False
            del self.files[MANIFEST]
            raise KeyboardInterrupt
        self.write_all(files)
        self.start()

    def renew_clients(self) -> None:
        self.renewed += 1

    def processes(self, program: str = "kube-apiserver") -> list[str]:
        return ["1"] if self.loaded is not None else []

    def has_group(self, uid: str) -> bool:
        return False

    def last_log(self, pod: str = "", lines: int = 8, since: str = "") -> tuple[str, list[str]]:
        return "kube-system_kube-apiserver-node_uid/kube-apiserver/0.log", self._log

    def values(self, prefix: str, *, exact: bool = False) -> Iterator[tuple[str, bytes]]:
        for key, value in sorted(self.store.items()):
            if key == prefix or (not exact and key.startswith(prefix)):
                yield key, value

    def put(self, key: str, value: bytes) -> None:
        self.store[key] = value

    def erase(self, key: str) -> None:
        del self.store[key]

    # -- the API server ------------------------------------------------------------------

    def start(self) -> None:
        """A new process, from what the files say now."""
        self.loaded = None
        self._log = []
        manifest = self.files.get(MANIFEST)
        if manifest is None:
            return
        self.starts.append(manifest)
        told = ManagedFlags.of(manifest)
        try:
            self.loaded = self._load(told.encryption)
        except (KeyError, TypeError, ValueError) as error:
            self._log = [f'E1125 run.go:72] "command failed" err="{error}"']

    def _load(self, file: str) -> dict[str, list[dict[str, Any]]]:
        config = yaml.safe_load(self.files[file]) if file else {}
        for entry in config.get("resources") or []:
            for one in entry["providers"]:
                ((kind, options),) = one.items()
                for key in options.get("keys") or []:
                    if len(base64.b64decode(key["secret"])) not in SIZES[kind]:
                        raise ValueError("secret is not of the expected length")
        return {
            name: entry["providers"]
            for entry in config.get("resources") or []
            for name in entry["resources"]
        }

    def _plugin_runs(self) -> bool:
        return any(name.startswith("/etc/kubernetes/manifests/kms") for name in self.files)

    def _marks(self, one: dict[str, Any]) -> list[bytes]:
        ((kind, options),) = one.items()
        if kind == "identity":
            return [b""]
        if kind == "kms":
            return [f"k8s:enc:kms:v2:{options['name']}:".encode()]
        return [
            f"k8s:enc:{kind}:v1:{key['name']}:{key['secret']}|".encode() for key in options["keys"]
        ]

    def readable(self, key: str) -> Any:
        """The object under a key; None when this process cannot read it."""
        value = self.store[key]
        providers = (self.loaded or {}).get(key.split("/")[2], [provider("identity")])
        for one in providers:
            for mark in self._marks(one):
                if "kms" in one and not (self.vault and self._plugin_runs()):
                    continue
                if mark and value.startswith(mark):
                    return json.loads(value[len(mark) :])
                if not mark and not value.startswith(b"k8s:enc:"):
                    return json.loads(value.removeprefix(b"k8s\x00"))
        return None

    def write_object(self, key: str, content: Any) -> bool:
        """Store an object as the first provider does."""
        one = (self.loaded or {}).get(key.split("/")[2], [provider("identity")])[0]
        if "kms" in one and not (self.vault and self._plugin_runs()):
            return False
        mark = self._marks(one)[0]
        self.store[key] = (mark or b"k8s\x00") + json.dumps(content).encode()
        return True

    def unreadable(self) -> list[str]:
        """The keys that this process cannot read."""
        return [key for key in self.store if self.readable(key) is None]


class FakePlane(ControlPlane):
    """A control plane on a FakeNode."""

    node: FakeNode

    def __init__(self, folder: Path) -> None:
        super().__init__("node", folder / "kubeconfig", folder)
        self.node = FakeNode()
        self.server.node = self.node
        self.server.health = self._health  # type: ignore[method-assign] # that is the fake
        self.server.call = self._call  # type: ignore[method-assign] # that is the fake
        self.said: list[str] = []
        self._on_call = self.said.append

    def create(self, name: str, namespace: str = "lab00", resource: str = "secrets") -> str:
        """Write an object through the API server; its etcd key."""
        key = f"/registry/{resource}/{namespace}/{name}"
        assert self.node.write_object(key, {"metadata": {"name": name}, "value": name})
        return key

    def use(self, *providers: dict[str, Any], **options: Any) -> None:
        """Restart with these providers for Secrets."""
        self.set(configuration(*providers), **options)

    def plain_bytes(self) -> bool:
        """Whether the API server runs from the very manifest that kubeadm wrote."""
        return self.node.files[MANIFEST] == self.node.starts[-1] == PLAIN_MANIFEST

    def is_plain(self) -> bool:
        """Whether the settings are the plain ones."""
        return self.current() == Settings()

    def _health(self, path: str = "/readyz") -> tuple[int, str]:
        if self.node.loaded is None:
            return 0, "connection refused"
        if path.startswith("/readyz") and self.node.unreadable():
            return 500, "[+]ping ok\n[-]informer-sync failed: reason withheld"
        return 200, "ok"

    def _call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        if "/proxy/pods" in path:
            source = {"kubernetes.io/config.source": "api"}
            return 200, {"items": [{"metadata": {"annotations": source}}]}
        parts = path.split("/")
        key = f"/registry/{parts[-2]}/{parts[-3]}/{parts[-1]}"
        if self.node.loaded is None:
            return 0, {"message": "connection refused"}
        if key not in self.node.store:
            return 404, {}
        found = self.node.readable(key)
        if found is None:
            return 500, {"message": "Internal error occurred: no matching prefix found"}
        if method == "PUT":
            return (200 if self.node.write_object(key, body) else 500), {}
        return 200, found


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePlane:
    """A control plane whose waits are short."""
    monkeypatch.setattr(apiserver, "EVERY", 0.001)
    monkeypatch.setattr(apiserver, "READY_SECONDS", 0.1)
    return FakePlane(tmp_path)
