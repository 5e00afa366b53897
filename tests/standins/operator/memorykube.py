"""A Kubernetes API in memory with the semantics that the operator leans on.

Generations move with the spec only, every write gets a new resource version, a stale version
is a conflict, an object with finalizers waits for them, and a status patch touches nothing but
the status. Watchers hear of each change in order.
"""

from __future__ import annotations

import copy
import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from standins.common.kube import Access, Kube, KubeError
from standins.operator.model import Obj

Watcher = Callable[[str, str, Obj], None]


def _merge(target: Any, change: Any) -> Any:
    """RFC 7396."""
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value)
    return result


class MemoryKube(Kube):
    """A cluster without HTTP, and what tests need to arrange and to break things."""

    def __init__(self) -> None:
        super().__init__(Access("memory"))
        self.objects: dict[tuple[str, str, str], Obj] = {}
        self.watchers: list[Watcher] = []
        self.calls: list[tuple[str, str, str]] = []
        # (verb, kind) -> error raised once
        self.failures: dict[tuple[str, str], KubeError] = {}
        # Called with (verb, kind, name) before each write: a place to stop the world.
        self.before_write: Callable[[str, str, str], None] = lambda *_: None
        self._versions = itertools.count(1)

    def _begin(self, verb: str, kind: str, name: str) -> None:
        self.calls.append((verb, kind, name))
        if error := self.failures.pop((verb, kind), None):
            raise error
        if verb not in ("get", "list"):
            self.before_write(verb, kind, name)

    def _tell(self, change: str, kind: str, obj: Obj) -> None:
        for watcher in self.watchers:
            watcher(kind, change, copy.deepcopy(obj))

    def _stamp(self, obj: Obj) -> None:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))

    def _find(self, kind: str, namespace: str, name: str) -> Obj:
        try:
            return self.objects[kind, namespace, name]
        except KeyError:
            raise KubeError(404, f'{kind} "{name}" not found', "NotFound") from None

    def _check_version(self, stored: Obj, sent: Obj) -> None:
        version = (sent.get("metadata") or {}).get("resourceVersion")
        if version and version != stored["metadata"]["resourceVersion"]:
            raise KubeError(409, "the object has been modified", "Conflict")

    async def get(self, kind: str, namespace: str, name: str) -> Obj:
        self._begin("get", kind, name)
        return copy.deepcopy(self._find(kind, namespace, name))

    async def list_all(
        self, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Obj]:
        self._begin("list", kind, "")
        return [
            copy.deepcopy(obj)
            for (its_kind, its_namespace, _), obj in self.objects.items()
            if its_kind == kind
            and namespace in ("", its_namespace)
            and (labels or {}).items() <= (obj["metadata"].get("labels") or {}).items()
        ]

    async def create(self, kind: str, namespace: str, obj: Obj) -> Obj:
        self._begin("create", kind, obj["metadata"].get("name", ""))
        return self.add(kind, namespace, obj)

    def add(self, kind: str, namespace: str, obj: Obj) -> Obj:
        """Store a new object as the API server would."""
        stored = copy.deepcopy(obj)
        stored["kind"] = kind
        if kind == "Secret":
            stored.setdefault("type", "Opaque")
        meta = stored.setdefault("metadata", {})
        meta.update({"namespace": namespace, "uid": str(uuid.uuid4()), "generation": 1})
        key = (kind, namespace, meta["name"])
        if key in self.objects:
            raise KubeError(409, f'{kind} "{meta["name"]}" already exists', "AlreadyExists")
        self._stamp(stored)
        self.objects[key] = stored
        self._tell("ADDED", kind, stored)
        return copy.deepcopy(stored)

    async def replace(self, kind: str, namespace: str, name: str, obj: Obj) -> Obj:
        self._begin("replace", kind, name)
        stored = self._find(kind, namespace, name)
        self._check_version(stored, obj)
        if kind == "Secret" and stored.get("type") != obj.get("type", stored.get("type")):
            raise KubeError(422, "field is immutable: type", "Invalid")
        return self._store(kind, stored, copy.deepcopy(obj))

    async def patch(
        self, kind: str, namespace: str, name: str, change: Any, *, subresource: str = ""
    ) -> Obj:
        self._begin("patch-status" if subresource else "patch", kind, name)
        stored = self._find(kind, namespace, name)
        self._check_version(stored, change)
        part = (
            {"status": change["status"]}
            if subresource
            else {key: value for key, value in change.items() if key != "status"}
        )
        return self._store(kind, stored, _merge(stored, part))

    def _store(self, kind: str, before: Obj, after: Obj) -> Obj:
        for field in ("uid", "namespace", "name", "generation", "deletionTimestamp"):
            if field in before["metadata"]:
                after["metadata"][field] = before["metadata"][field]
        after["kind"] = kind
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] += 1
        key = (kind, after["metadata"]["namespace"], after["metadata"]["name"])
        self._stamp(after)
        self.objects[key] = after
        gone = after["metadata"].get("deletionTimestamp") and not after["metadata"].get(
            "finalizers"
        )
        if gone:
            del self.objects[key]
        self._tell("DELETED" if gone else "MODIFIED", kind, after)
        return copy.deepcopy(after)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str = "") -> None:
        self._begin("delete", kind, name)
        self.remove(kind, namespace, name)

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete, or mark as deleting while finalizers hold it."""
        obj = self.objects.get((kind, namespace, name))
        if obj is None:
            return
        if obj["metadata"].get("finalizers"):
            obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self._stamp(obj)
            self._tell("MODIFIED", kind, obj)
            return
        del self.objects[kind, namespace, name]
        self._tell("DELETED", kind, obj)

    async def service_account_token(
        self,
        namespace: str,
        name: str,
        audiences: Sequence[str],
        seconds: int,
        bound_to: Obj | None = None,
    ) -> str:
        self._begin("token", "ServiceAccount", name)
        self._find("ServiceAccount", namespace, name)
        return f"sa:{namespace}:{name}:{','.join(audiences)}"

    def edit(self, kind: str, namespace: str, name: str, change: Obj) -> Obj:
        """A user's edit (merge patch of anything but the status)."""
        stored = self._find(kind, namespace, name)
        return self._store(kind, stored, _merge(stored, change))
