"""The cluster in memory behind the official client and behind the harness's own verbs.

`FakeCluster` stands for the ApiClient of `lab.kube`; beside what `MemoryCluster` does it
answers discovery. `FakeKube` stands for `lab.kube` itself, over the same objects.
"""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace
from typing import Any

import urllib3

from tests.fakes.kubernetes import MemoryCluster

Data = dict[str, Any]
Objects = list[Data]
Lines = list[str]

_KINDS = (
    ("", "v1", "namespaces", "Namespace", "Cluster"),
    ("", "v1", "configmaps", "ConfigMap", "Namespaced"),
    ("", "v1", "events", "Event", "Namespaced"),
    ("", "v1", "pods", "Pod", "Namespaced"),
    ("", "v1", "secrets", "Secret", "Namespaced"),
    ("", "v1", "serviceaccounts", "ServiceAccount", "Namespaced"),
    ("", "v1", "services", "Service", "Namespaced"),
    ("apps", "v1", "deployments", "Deployment", "Namespaced"),
    ("apps", "v1", "replicasets", "ReplicaSet", "Namespaced"),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "Namespaced"),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", "Cluster"),
    ("example.test", "v1", "things", "Thing", "Namespaced"),
)
CLUSTER_CA = "CLUSTER CA\n"
_ROOTS = {
    kind: f"/apis/{group}/{version}" if group else f"/api/{version}"
    for group, version, _, kind, _ in _KINDS
}
_CLUSTER_WIDE = {
    "Node",
    *(kind for *_, kind, scope in _KINDS if scope == "Cluster"),
    *("ClusterRole", "CSIDriver", "CSINode", "CustomResourceDefinition"),
    *("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
}
_PLURALS = {kind: plural for _, _, plural, kind, _ in _KINDS}


class FakeCluster(MemoryCluster):
    """Stands for the ApiClient of `lab.kube`; tests name objects by their paths."""

    configuration = SimpleNamespace(host="https://cluster.test:6443")

    def __init__(self) -> None:
        super().__init__({kind: f"{_ROOTS[kind]}/{plural}" for kind, plural in _PLURALS.items()})
        # Paths of collections -> the status of every answer.
        self.broken: dict[str, int] = {}

    def put(self, kind: str, name: str, namespace: str = "", **more: Any) -> str:
        """Make an object anew, whatever was there; return its path."""
        metadata = {"name": name, **more.pop("metadata", {})}
        self.objects.pop((kind, namespace, name), None)
        version = _ROOTS[kind].removeprefix("/apis/").removeprefix("/api/")
        self.add(kind, namespace, {"apiVersion": version, **more, "metadata": metadata})
        return self.path(kind, namespace, name)

    def path(self, kind: str, namespace: str, name: str) -> str:
        """The path of an object."""
        between = f"/namespaces/{namespace}" if namespace else ""
        return f"{_ROOTS[kind]}{between}/{_PLURALS[kind]}/{name}"

    def at(self, path: str) -> Data | None:
        """The object at this path."""
        return next((obj for key, obj in self.objects.items() if self.path(*key) == path), None)

    # -- what ApiClient offers ----------------------------------------------------------

    def param_serialize(self, method: str, path: str, **options: Any) -> tuple[Any, ...]:
        """The request as the arguments of call_api."""
        return (method, path.partition("?")[0], options.get("header_params"), options.get("body"))

    def call_api(
        self, method: str, path: str, headers: Data, body: Any, _request_timeout: float
    ) -> Any:
        """Answer one request."""
        if self.down:
            raise urllib3.exceptions.HTTPError("connection refused")
        if path in ("/api", "/apis"):
            self.requests.append(f"{method} {path}")
            status, value = 200, _discovery(core=path == "/api")
        elif path in self.broken:
            status, value = self.broken[path], {"message": "conversion webhook failed"}
        else:
            status, value = self.answer(method, path, body)
        return SimpleNamespace(status=status, data=json.dumps(value).encode(), read=lambda: None)


class FakeKube:
    """Stands for harness.clients.kube.Kube: its verbs on a cluster in memory, for any kind.

    `applied` and `deleted` are what was asked for, in order.
    """

    def __init__(self, cluster: MemoryCluster | None = None, namespace: str = "default") -> None:
        self.api = cluster or FakeCluster()
        self.namespace = namespace
        self.applied: list[Data] = []
        self.deleted: list[tuple[str, str]] = []

    def apply(self, document: Data, namespace: str = "") -> None:
        kind, metadata = document["kind"], document["metadata"]
        where = self._where(kind, metadata.get("namespace") or namespace)
        self.applied.append(document)
        if (kind, where, metadata["name"]) in self.api.objects:
            self.api.edit(kind, where, metadata["name"], document)
        else:
            self.api.add(kind, where, document)

    def get(self, kind: str, name: str, namespace: str = "", api_version: str = "") -> Data | None:
        return copy.deepcopy(self.api.objects.get((kind, self._where(kind, namespace), name)))

    def list(
        self, kind: str, namespace: str = "", selector: str = "", api_version: str = ""
    ) -> Objects:
        labels = dict(part.split("=", 1) for part in selector.split(",") if part)
        return [
            copy.deepcopy(entry)
            for (its_kind, where, _), entry in sorted(self.api.objects.items())
            if (its_kind, where) == (kind, self._where(kind, namespace))
            and labels.items() <= (entry["metadata"].get("labels") or {}).items()
        ]

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str = "",
        api_version: str = "",
        grace: int | None = None,
    ) -> None:
        self.deleted.append((kind, name))
        self.api.remove(kind, self._where(kind, namespace), name)

    def create_token(self, account: str, audience: str = "", namespace: str = "") -> str:
        request = {"spec": {"audiences": [audience]}}
        return self.api.token(namespace or self.namespace, account, request)

    def ca_certificate(self) -> str:
        return CLUSTER_CA

    def events(self, name: str, namespace: str = "", uid: str = "") -> Lines:
        return []

    def _where(self, kind: str, namespace: str) -> str:
        return "" if kind in _CLUSTER_WIDE else namespace or self.namespace


def _discovery(core: bool) -> Data:
    groups: dict[str, list[Data]] = {}
    for group, _, plural, kind, scope in _KINDS:
        if (group == "") == core:
            groups.setdefault(group, []).append(
                {
                    "resource": plural,
                    "responseKind": {"kind": kind},
                    "scope": scope,
                    "verbs": ["create", "delete", "get", "list"],
                }
            )
    return {
        "items": [
            {
                "metadata": {"name": group} if group else {},
                "versions": [{"version": "v1", "resources": resources}],
            }
            for group, resources in groups.items()
        ]
    }
