"""The parts of a pod the injector reads, checked once and then typed.

The webhook listens on the cluster network, and what arrives need not come from the API
server. So every field used later is checked here for its JSON type; the rest of the
pod is never looked into. `null` counts as absent, as it does for the API server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from standins.common.values import INT64_MAX

JsonObject = dict[str, Any]
T = TypeVar("T")

_WORDS = {dict: "an object", list: "a list", str: "a string", bool: "a bool", int: "an integer"}


class PodError(ValueError):
    """The object in the request is not a pod the injector can read."""


def _take(source: JsonObject, key: str, kind: type[T], where: str) -> T | None:
    value = source.get(key)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise PodError(f"{where}.{key} is not {_WORDS[kind]}")
    if isinstance(value, int) and not -INT64_MAX - 1 <= value <= INT64_MAX:
        raise PodError(f"{where}.{key} is out of the range of 64 bits")
    return value


def _objects(source: JsonObject, key: str, where: str) -> list[JsonObject]:
    items = _take(source, key, list, where) or []
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise PodError(f"{where}.{key}[{number}] is not an object")
    return items


@dataclass(frozen=True)
class Mount:
    """One volume mount: its volume, its path and the mount as it was written."""

    volume: str
    path: str
    raw: JsonObject


@dataclass(frozen=True)
class Container:
    """One container: what the injector needs of it, and the container as written."""

    name: str
    mounts: list[Mount]
    env: dict[str, str]
    run_as_user: int | None
    has_security_context: bool
    raw: JsonObject

    @classmethod
    def read(cls, raw: JsonObject, where: str) -> Container:
        """Check and read one container; `where` leads to it in messages."""
        mounts = [
            Mount(
                _take(each, "name", str, f"{where}.volumeMounts[{number}]") or "",
                _take(each, "mountPath", str, f"{where}.volumeMounts[{number}]") or "",
                each,
            )
            for number, each in enumerate(_objects(raw, "volumeMounts", where))
        ]
        env = {
            _take(each, "name", str, f"{where}.env[{number}]") or "": _take(
                each, "value", str, f"{where}.env[{number}]"
            )
            or ""
            for number, each in enumerate(_objects(raw, "env", where))
        }
        context = _take(raw, "securityContext", dict, where)
        return cls(
            name=_take(raw, "name", str, where) or "",
            mounts=mounts,
            env=env,
            run_as_user=_take(context or {}, "runAsUser", int, f"{where}.securityContext"),
            has_security_context=context is not None,
            raw=raw,
        )


@dataclass(frozen=True)
class Pod:
    """A pod as the injector sees it."""

    annotations: dict[str, str]
    containers: list[Container]
    init_containers: list[Container]
    volumes: list[JsonObject]
    phase: str = ""
    share_process_namespace: bool | None = None

    @classmethod
    def read(cls, raw: object) -> Pod:
        """Check and read `request.object`. Raises PodError."""
        if not isinstance(raw, dict):
            raise PodError("the request carries no pod: request.object is not an object")
        metadata = _take(raw, "metadata", dict, "pod") or {}
        spec = _take(raw, "spec", dict, "pod") or {}
        status = _take(raw, "status", dict, "pod") or {}
        annotations = _take(metadata, "annotations", dict, "pod.metadata") or {}
        for key, value in annotations.items():
            if not isinstance(value, str):
                raise PodError(f"pod.metadata.annotations[{key[:80]!r}] is not a string")
        return cls(
            annotations=annotations,
            containers=_containers(spec, "containers"),
            init_containers=_containers(spec, "initContainers"),
            volumes=_objects(spec, "volumes", "pod.spec"),
            phase=_take(status, "phase", str, "pod.status") or "",
            share_process_namespace=_take(spec, "shareProcessNamespace", bool, "pod.spec"),
        )


def _containers(spec: JsonObject, key: str) -> list[Container]:
    return [
        Container.read(each, f"pod.spec.{key}[{number}]")
        for number, each in enumerate(_objects(spec, key, "pod.spec"))
    ]
