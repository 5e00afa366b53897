"""No value in etcd without a key: what must happen to values before keys are removed.

Encryption at rest rewrites nothing by itself, so a configuration that is put back may leave
values behind that it cannot read, in any namespace. `migrate_to` applies a transitional
configuration first: it writes as the goal does and reads with every key that was ever used
here. With it the unreadable values are rewritten, and only then the other keys are removed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.base.errors import LabError
from harness.base.wait import wait_for
from harness.controlplane.change import SERVES, ControlPlane
from harness.controlplane.node import ENCRYPTED
from harness.controlplane.settings import Document, Settings

REGISTRY = "/registry/"
THREADS = 4
SETTLE_SECONDS = 30.0
_CONFLICT_TRIES = 5
_API_VERSION = "apiserver.config.k8s.io/v1"


def writer_of(value: bytes) -> str:
    """The provider and key that wrote a raw value: "aescbc:v1:NAME", "" for a plain one."""
    if not value.startswith(ENCRYPTED):
        return ""
    words = value[len(ENCRYPTED) :].split(b":", 3)[:3]
    return b":".join(words).decode(errors="replace")


def survey(plane: ControlPlane, prefix: str = REGISTRY) -> dict[str, str]:
    """Every etcd key under `prefix` with the writer of its value."""
    return {key: writer_of(value) for key, value in plane.node.values(prefix)}


def writer(settings: Settings, resource: str) -> str:
    """The writer of this resource with these settings; "" when it is not encrypted."""
    names = [_name(provider) for provider in _providers(settings, resource)]
    return names[0] if names else ""


def reads(settings: Settings, key: str, wrote: str) -> bool:
    """Whether these settings read a value that `wrote` wrote."""
    providers = _providers(settings, resource_of(key))
    if not providers:
        return wrote == ""
    return wrote in {name for provider in providers for name in _names(provider)}


def resource_of(key: str) -> str:
    """The resource as an EncryptionConfiguration names it: `secrets`, `things.example.com`."""
    first, *rest = key.removeprefix(REGISTRY).split("/")
    return f"{rest[0]}.{first}" if "." in first and rest else first


def migrate_to(
    plane: ControlPlane, goal: Settings, discardable_namespaces: Collection[str] = ()
) -> list[str]:
    """Give the API server these settings and leave no value in etcd that they cannot read.

    A value for which no key is left is deleted in one of the `discardable_namespaces`;
    elsewhere it is named in a LabError. Returns sentences that say what was done; [] when
    there was nothing to do.
    """
    done = [plane.repair()]
    present = plane.current()
    unreadable = _unreadable_now(plane, goal)
    if unreadable:
        copies = _copies(plane, unreadable)
        resources = {resource_of(key) for key in unreadable}
        if not (
            all(writer(present, resource) == writer(goal, resource) for resource in resources)
            and not _unreadable(present, unreadable)
            and copies.keys() == unreadable.keys()
        ):
            plane.apply(_transitional(plane, goal, unreadable), ready=SERVES)
        _rewrite_all(plane, goal, copies, discardable_namespaces)
        done.append(f"rewrote {len(unreadable)} values in etcd")
    if present != goal or unreadable:
        plane.apply(goal)
        done.append(
            "returned the API server to its plain settings"
            if goal.plain
            else "returned the API server to its earlier settings"
        )
    return [line for line in done if line]


def restore_readability(plane: ControlPlane) -> str:
    """Repair an API server that does not run or lacks keys; a sentence, "" if all is well.

    Every value that some known key reads becomes readable; other settings stay as they are.
    """
    done = plane.repair()
    if not plane.was_changed():
        return done
    present = plane.current()
    unreadable = _unreadable_now(plane, present)
    if not unreadable:
        return done
    transitional = _transitional(plane, present, unreadable)
    still = {key for key, wrote in unreadable.items() if not reads(transitional, key, wrote)}
    if still == unreadable.keys():
        return done
    plane.apply(transitional, ready=SERVES)
    return f"gave the API server the keys of {len(unreadable) - len(still)} values back"


# -- inside -----------------------------------------------------------------------------


def _unreadable_now(plane: ControlPlane, goal: Settings) -> dict[str, str]:
    """The values in etcd that these settings cannot read, with the writer of each."""
    return _unreadable(goal, survey(plane))


def _unreadable(settings: Settings, values: Mapping[str, str]) -> dict[str, str]:
    return {key: wrote for key, wrote in values.items() if not reads(settings, key, wrote)}


def _transitional(plane: ControlPlane, goal: Settings, unreadable: Iterable[str]) -> Settings:
    """Settings that write as `goal` does and read with every key that is known."""
    known = plane.memory.all()
    extra: list[Document] = [{"identity": {}}]
    for settings in (plane.current(), *known):
        for entry in (settings.encryption or {}).get("resources") or []:
            extra += [one for provider in entry["providers"] for one in _single(provider)]
    plugin = goal.plugin
    if any("kms" in provider for provider in extra):
        plugins = (settings.plugin for settings in (goal, plane.current(), *known))
        plugin = next((found for found in plugins if found), None)
    if plugin is None:
        extra = [provider for provider in extra if "kms" not in provider]
    resources = [
        {**entry, "providers": _unique([*entry["providers"], *extra])}
        for entry in (goal.encryption or {}).get("resources") or []
    ]
    covered = {name for entry in resources for name in entry["resources"]}
    missing = sorted({resource_of(key) for key in unreadable} - covered)
    if missing:
        resources.append({"resources": missing, "providers": _unique(extra)})
    encryption = {
        "apiVersion": _API_VERSION,
        "kind": "EncryptionConfiguration",
        "resources": resources,
    }
    return Settings(encryption, goal.reload, goal.audit, plugin)


def _rewrite_all(
    plane: ControlPlane,
    goal: Settings,
    copies: Mapping[str, Document],
    discardable_namespaces: Collection[str],
) -> None:
    """Rewrite every unreadable value, from its copy where the API server cannot read it."""

    def left() -> dict[str, str]:
        found = _unreadable_now(plane, goal)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda key: rewrite(plane, key), found))
        return _unreadable_now(plane, goal)

    # A KMS plugin that was just started may need a moment before it decrypts.
    by_kms = any(wrote.startswith("kms:") for wrote in _unreadable_now(plane, goal).values())
    remaining = left()
    if remaining and by_kms:
        remaining = _repeatedly(left)
    for key in remaining:
        if key in copies:
            # The API server reads JSON as well as its own form.
            plane.node.put(key, json.dumps(copies[key]).encode())
        elif key.removeprefix(REGISTRY).split("/")[1] in discardable_namespaces:
            plane.node.erase(key)
    remaining = left() if remaining else {}
    if remaining:
        raise LabError(
            "no key is left that decrypts what etcd holds under\n  " + "\n  ".join(remaining),
            where=plane.node.name,
            hint="./lab down, then ./lab up; no other way is left",
        )


def _repeatedly(left: Any) -> dict[str, str]:
    remaining: dict[str, str] = {}

    def all_written() -> bool:
        nonlocal remaining
        remaining = left()
        return not remaining

    try:
        wait_for("the KMS plugin to decrypt", all_written, timeout=SETTLE_SECONDS, every=1)
    except LabError:
        return remaining
    return {}


def rewrite(plane: ControlPlane, key: str) -> bool:
    """Have the API server read one value and write it again; False when it cannot."""
    path = api_path(key)
    for _ in range(_CONFLICT_TRIES):
        status, found = plane.call("GET", path)
        if status != 200:
            return status == 404
        status, _ = plane.call("PUT", path, found)
        if status != 409:
            return status == 200
    return False


def api_path(key: str) -> str:
    """The API path of what lies under an etcd key, for core and for custom resources."""
    parts = key.removeprefix(REGISTRY).split("/")
    group = parts.pop(0) if "." in parts[0] else ""
    plural, *names = parts
    if not names or (not group and plural not in _CORE):
        raise LabError(f"labs cannot rewrite what etcd holds under {key}", hint="./lab down")
    where = f"/namespaces/{names[0]}" if len(names) == 2 else ""
    root = "/api/v1" if not group else f"/apis/{group}/v1"
    return f"{root}{where}/{plural}/{names[-1]}"


_KEY_BYTES = {"aescbc": (16, 24, 32), "aesgcm": (16, 24, 32), "secretbox": (32,)}
_CORE = frozenset({"secrets", "configmaps", "serviceaccounts"})


def _copies(plane: ControlPlane, keys: Iterable[str]) -> dict[str, Document]:
    """What the API server still reads of these values: in memory only."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda key: (key, plane.call("GET", api_path(key))), keys)
        return {key: value for key, (status, value) in found if status == 200}


def _providers(settings: Settings, resource: str) -> list[Document]:
    """The providers of a resource, the writing one first; [] when it is not named."""
    group = resource.partition(".")[2]
    wanted = {resource, f"*.{group}", "*.*"}
    return [
        provider
        for entry in (settings.encryption or {}).get("resources") or []
        if wanted & set(entry.get("resources") or ())
        for provider in entry.get("providers") or []
    ]


def _name(provider: Document) -> str:
    """What a provider writes: its first key's."""
    return next(iter(_names(provider)), "")


def _names(provider: Document) -> list[str]:
    """Every prefix that a provider reads."""
    ((kind, options),) = provider.items()
    if kind == "identity":
        return [""]
    if kind == "kms":
        return [f"kms:{options.get('apiVersion', 'v1')}:{options.get('name', '')}"]
    return [f"{kind}:v1:{key['name']}" for key in options.get("keys") or []]


def _single(provider: Document) -> list[Document]:
    """A provider of several keys as several of one key each; keys that are invalid are left out."""
    ((kind, options),) = provider.items()
    if kind not in _KEY_BYTES:
        return [provider]
    keys = (options or {}).get("keys") or []
    return [{kind: {"keys": [key]}} for key in keys if _usable(kind, key)]


def _usable(kind: str, key: Document) -> bool:
    try:
        secret = base64.b64decode(key["secret"], validate=True)
    except (KeyError, TypeError, ValueError):
        return False
    return bool(key.get("name")) and len(secret) in _KEY_BYTES[kind]


def _unique(providers: Iterable[Document]) -> list[Document]:
    """Each provider once, in order; KMS names may not come twice."""
    found: list[Document] = []
    for provider in providers:
        names = [one["kms"]["name"] for one in found if "kms" in one]
        if provider not in found and (provider.get("kms") or {}).get("name") not in names:
            found.append(provider)
    return found
