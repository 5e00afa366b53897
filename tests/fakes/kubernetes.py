"""A Kubernetes API in memory: paths and bodies in, statuses and objects out.

Generations move with the spec only, every write gets a new resource version, a stale version
is a conflict, an object with finalizers waits for them, and a status patch touches nothing but
the status. Watchers hear of each change in order. No controller runs. What speaks to it is
elsewhere: `tests.fakes.kube` has the stand-ins' client and HTTP, `tests.fakes.cluster` the
official client's.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jsonpatch

Obj = dict[str, Any]
Key = tuple[str, str, str]
Watcher = Callable[[str, str, Obj], None]

_VERBS = {"GET": "get", "POST": "create", "PUT": "replace", "PATCH": "patch", "DELETE": "delete"}
_READING = ("get", "list")
# What a write cannot change.
_FIXED = ("uid", "namespace", "name", "generation", "deletionTimestamp")


class Refused(Exception):
    """The answer is an error."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class MemoryCluster:
    """Objects by kind, namespace and name, and what tests need to arrange and to break things."""

    def __init__(self, resources: Mapping[str, str]) -> None:
        """`resources`: kind -> path of its collection, as in `standins.common.kube`."""
        self.objects: dict[Key, Obj] = {}
        self.watchers: list[Watcher] = []
        self.calls: list[Key] = []
        self.requests: list[str] = []
        self.down = False
        # (verb, kind) -> status and message, answered once
        self.failures: dict[tuple[str, str], tuple[int, str]] = {}
        # Called with (verb, kind, name) before each write: a place to stop the world.
        self.before_write: Callable[[str, str, str], None] = lambda *_: None
        # Paths of objects that stay when they are deleted, and of those that refuse a change.
        self.hold: set[str] = set()
        self.immutable: set[str] = set()
        self._kinds = {path: kind for kind, path in resources.items()}
        self._numbers = itertools.count(1)

    # -- what tests do -------------------------------------------------------------------

    def add(self, kind: str, namespace: str, obj: Obj) -> Obj:
        """Store a new object as the API server would."""
        stored = {"kind": kind, **copy.deepcopy(obj)}
        if kind == "Secret":
            stored.setdefault("type", "Opaque")
        meta = stored.setdefault("metadata", {})
        meta |= {"uid": f"uid-{next(self._numbers)}", "generation": 1}
        if namespace:
            meta["namespace"] = namespace
        key = (kind, namespace, meta["name"])
        if key in self.objects:
            raise Refused(409, f'{kind} "{meta["name"]}" already exists', "AlreadyExists")
        self._stamp(stored)
        self.objects[key] = stored
        self._tell("ADDED", kind, stored)
        return copy.deepcopy(stored)

    def edit(self, kind: str, namespace: str, name: str, change: Obj) -> Obj:
        """A user's edit (merge patch of anything but the status)."""
        stored = self._find(kind, namespace, name)
        return self._store(stored, _merged(stored, change))

    def remove(self, kind: str, namespace: str, name: str, *, held: bool = False) -> None:
        """Delete, or mark as deleting while finalizers or `held` keep it."""
        obj = self.objects.get((kind, namespace, name))
        if obj is None:
            return
        if obj["metadata"].get("finalizers") or held:
            obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self._stamp(obj)
            self._tell("MODIFIED", kind, obj)
            return
        del self.objects[kind, namespace, name]
        if kind == "Namespace":
            for key in [key for key in self.objects if key[1] == name]:
                self.remove(*key)
        self._tell("DELETED", kind, obj)

    # -- what clients do -----------------------------------------------------------------

    def answer(
        self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None
    ) -> tuple[int, Obj]:
        """Status and body of one request."""
        self.requests.append(f"{method} {path}")
        try:
            kind, namespace, name, subresource = self._parse(path)
            verb = "list" if method == "GET" and not name else _VERBS[method]
            if subresource:
                verb = {"token": "token"}.get(subresource, f"{verb}-{subresource}")
            name = name or str(((body or {}).get("metadata") or {}).get("name", ""))
            self.calls.append((verb, kind, name))
            if failure := self.failures.pop((verb, kind), None):
                raise Refused(*failure)
            if verb not in _READING:
                self.before_write(verb, kind, name)
            found = self._act(verb, path, (kind, namespace, name), body, params or {})
        except Refused as error:
            status = {"kind": "Status", "message": str(error), "reason": error.reason}
            return error.status, status
        return (201 if method == "POST" else 200), copy.deepcopy(found)

    def token(self, namespace: str, name: str, request: Obj) -> str:
        """What the TokenRequest API gives out; tests may read the account out of it."""
        return f"sa:{namespace}:{name}:{','.join(request['spec']['audiences'])}"

    def _act(self, verb: str, path: str, key: Key, body: Any, params: Mapping[str, str]) -> Obj:
        kind, namespace, name = key
        if verb == "list":
            return {"items": self._list(kind, namespace, params.get("labelSelector", ""))}
        if verb == "create":
            return self.add(kind, namespace, body)
        stored = self._find(*key)
        if verb == "get":
            return stored
        if verb == "token":
            return {**body, "status": {"token": self.token(namespace, name, body)}}
        if path in self.immutable and verb in ("replace", "patch"):
            raise Refused(422, "field is immutable", "Invalid")
        if verb == "replace":
            _check_version(stored, body)
            if kind == "Secret" and stored.get("type") != body.get("type", stored.get("type")):
                raise Refused(422, "field is immutable: type", "Invalid")
            return self._store(stored, copy.deepcopy(body))
        if verb == "delete":
            wanted = ((body or {}).get("preconditions") or {}).get("uid")
            if wanted not in (None, stored["metadata"]["uid"]):
                raise Refused(409, "the UID in the precondition is another", "Conflict")
            self.remove(*key, held=path in self.hold)
            # As the API server does: the object itself while something holds it.
            return self.objects.get(key, {"kind": "Status", "status": "Success"})
        return self._store(stored, _patched(stored, body, status=verb == "patch-status"))

    def _list(self, kind: str, namespace: str, selector: str) -> list[Obj]:
        labels = dict(part.split("=", 1) for part in selector.split(",") if part)
        return [
            obj
            for (its_kind, its_namespace, _), obj in sorted(self.objects.items())
            if its_kind == kind
            and namespace in ("", its_namespace)
            and labels.items() <= (obj["metadata"].get("labels") or {}).items()
        ]

    def _find(self, kind: str, namespace: str, name: str) -> Obj:
        try:
            return self.objects[kind, namespace, name]
        except KeyError:
            raise Refused(404, f'{kind} "{name}" not found', "NotFound") from None

    def _store(self, before: Obj, after: Obj) -> Obj:
        meta = after.setdefault("metadata", {})
        meta |= {
            field: before["metadata"][field] for field in _FIXED if field in before["metadata"]
        }
        after["kind"] = kind = before["kind"]
        if after.get("spec") != before.get("spec"):
            meta["generation"] += 1
        key = (kind, meta.get("namespace", ""), meta["name"])
        self._stamp(after)
        self.objects[key] = after
        gone = bool(meta.get("deletionTimestamp")) and not meta.get("finalizers")
        if gone:
            del self.objects[key]
        self._tell("DELETED" if gone else "MODIFIED", kind, after)
        return after

    def _stamp(self, obj: Obj) -> None:
        obj["metadata"]["resourceVersion"] = str(next(self._numbers))

    def _tell(self, change: str, kind: str, obj: Obj) -> None:
        for watcher in self.watchers:
            watcher(kind, change, copy.deepcopy(obj))

    def _parse(self, path: str) -> tuple[str, str, str, str]:
        """Kind, namespace, name and subresource of a path."""
        parts = path.split("/")
        cut = 3 if parts[1] == "api" else 4
        root, rest, namespace = "/".join(parts[:cut]), parts[cut:], ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kind = self._kinds.get(f"{root}/{rest[0]}")
        if kind is None:
            raise Refused(404, "the server could not find the requested resource", "NotFound")
        name, subresource = [*rest[1:], "", ""][:2]
        return kind, namespace, name, subresource


def _check_version(stored: Obj, sent: Obj) -> None:
    version = (sent.get("metadata") or {}).get("resourceVersion")
    if version and version != stored["metadata"]["resourceVersion"]:
        raise Refused(409, "the object has been modified", "Conflict")


def _patched(stored: Obj, change: Any, *, status: bool) -> Obj:
    if isinstance(change, list):
        try:
            result: Obj = jsonpatch.apply_patch(copy.deepcopy(stored), change)
        except jsonpatch.JsonPatchException as error:
            raise Refused(422, f"the server rejected our request: {error}", "Invalid") from error
        return result
    _check_version(stored, change)
    if status:
        return dict(_merged(stored, {"status": change["status"]}))
    return dict(_merged(stored, {key: value for key, value in change.items() if key != "status"}))


def _merged(target: Any, change: Any) -> Any:
    """RFC 7396."""
    if not isinstance(change, dict):
        return change
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result
