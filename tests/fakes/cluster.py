"""A Kubernetes API in memory: discovery, and objects by path. It stands for ApiClient.

It stores what is posted, keeps an object with finalizers until they are taken away, marks
a namespace that is deleted as terminating for as long as `hold` says, and runs no
controller.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import urllib3

Data = dict[str, Any]

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
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", "Cluster"),
    ("example.test", "v1", "things", "Thing", "Namespaced"),
)
_PLURALS = {kind: (group, version, plural) for group, version, plural, kind, _ in _KINDS}


class FakeCluster:
    """Stands for the ApiClient of `lab.kube`."""

    configuration = SimpleNamespace(host="https://cluster.test:6443")

    def __init__(self) -> None:
        self.objects: dict[str, Data] = {}
        self.hold: set[str] = set()
        self.down = False
        self.immutable: set[str] = set()
        self.calls: list[str] = []
        self._made = 0

    def add(self, kind: str, name: str, namespace: str = "", **more: Any) -> str:
        """Create an object as the API server would store it; return its path."""
        group, version, plural = _PLURALS[kind]
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        metadata |= more.pop("metadata", {})
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        path = f"{root}{f'/namespaces/{namespace}' if namespace else ''}/{plural}/{name}"
        body = {"apiVersion": f"{group}/{version}" if group else version, "kind": kind, **more}
        self._store(path, {**body, "metadata": metadata})
        return path

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
        self.calls.append(f"{method} {path}")
        status, value = self._answer(method, path, body)
        return SimpleNamespace(status=status, data=json.dumps(value).encode(), read=lambda: None)

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, Data]:
        if path in ("/api", "/apis"):
            return 200, _discovery(core=path == "/api")
        if method == "GET" and any(path.endswith(f"/{kind[2]}") for kind in _KINDS):
            plural = path.rpartition("/")[2]
            found = [o for at, o in sorted(self.objects.items()) if at.split("/")[-2] == plural]
            return 200, {"items": found}
        if method == "POST":
            at = f"{path}/{body['metadata']['name']}"
            if at in self.objects:
                return 409, {"message": "it exists"}
            return 201, self._store(at, body)
        if path not in self.objects:
            return 404, {"message": "not found"}
        if method == "PUT":
            if path in self.immutable:
                return 422, {"message": "field is immutable"}
            return 200, self._store(path, body)
        if method == "PATCH":
            self.objects[path]["metadata"].pop("finalizers", None)
            return 200, self._leave(path)
        if method == "DELETE":
            return 200, self._leave(path)
        return 200, self.objects[path]

    def _store(self, path: str, body: Data) -> Data:
        self._made += 1
        stored: Data = json.loads(json.dumps(body))
        stored["metadata"] |= {"uid": f"uid-{self._made}", "resourceVersion": str(self._made)}
        self.objects[path] = stored
        return stored

    def _leave(self, path: str) -> Data:
        entry = self.objects[path]
        if entry["metadata"].get("finalizers") or path in self.hold:
            entry["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return entry
        for at in [at for at in self.objects if at == path or at.startswith(f"{path}/")]:
            del self.objects[at]
        return {"kind": "Status", "status": "Success"}


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
