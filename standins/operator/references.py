"""Which VaultAuth and which VaultConnection a secret uses, and whether it may.

Pure lookups in the store: references with their defaults, allowedNamespaces, the merge of a
VaultAuthGlobal into a VaultAuth. The result is a copy; stored objects are never changed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from standins.operator import authmethods, model
from standins.operator.model import Obj
from standins.operator.store import Store

DEFAULT = "default"
_GLOBAL_EXTRAS = ("namespace", "mount", "params", "headers")


class ReferenceRefused(Exception):
    """A reference is malformed, leads nowhere or is not allowed."""


@dataclass(frozen=True)
class Resolver:
    """Reference rules for one operator: where its `default` objects live."""

    store: Store
    operator_namespace: str
    allow_default_globals: bool = True

    def parse(self, text: str, namespace: str) -> tuple[str, str]:
        """(namespace, name) of a reference; the empty one is `default` beside the operator."""
        if not text:
            return self.operator_namespace, DEFAULT
        parts = text.split("/")
        if len(parts) > 2:
            raise ReferenceRefused(f"invalid name: {text}")
        return (parts[0], parts[1]) if len(parts) == 2 else (namespace, parts[0])

    def _find(self, kind: str, namespace: str, name: str) -> Obj:
        found = self.store.get(kind, namespace, name)
        if found is None:
            raise ReferenceRefused(f'{kind}.{model.GROUP} "{name}" not found in {namespace}')
        return found

    def check_allowed(self, kind: str, obj: Obj, target: str) -> None:
        """Refuse when objects in namespace `target` may not use `obj`."""
        home, allowed = model.namespace(obj), model.spec(obj).get("allowedNamespaces") or []
        free = target == home or self._is_default(obj)
        if free or allowed == ["*"] or target in allowed:
            return
        listed = " ".join(allowed)
        raise ReferenceRefused(
            f'target namespace "{target}" is not allowed by kind={kind} '
            f"obj={home}/{model.name(obj)}, allowedNamespaces=[{listed}]"
        )

    def _is_default(self, obj: Obj) -> bool:
        where = (model.namespace(obj), model.name(obj))
        return where == (self.operator_namespace, DEFAULT)

    def auth_for(self, consumer: Obj) -> Obj:
        """The VaultAuth that `consumer` refers to, merged and allowed."""
        home = model.namespace(consumer)
        namespace, name = self.parse(model.spec(consumer).get("vaultAuthRef", ""), home)
        auth = self._find(model.AUTH, namespace, name)
        self.check_allowed(model.AUTH, auth, home)
        return self.merged(auth)[0]

    def connection_for(self, auth: Obj) -> Obj:
        """The VaultConnection that a (merged) VaultAuth refers to."""
        ref = model.spec(auth).get("vaultConnectionRef", "")
        namespace, name = self.parse(ref, model.namespace(auth))
        return self._find(model.CONNECTION, namespace, name)

    def connected(self, auth: Obj) -> Obj:
        """`auth`; the one called `default` beside the operator with its connection filled in.

        That is the VaultConnection `default` there, whatever a VaultAuthGlobal says.
        """
        if self._is_default(auth) and not model.spec(auth).get("vaultConnectionRef"):
            return {**auth, "spec": {**model.spec(auth), "vaultConnectionRef": DEFAULT}}
        return auth

    def merged(self, auth: Obj) -> tuple[Obj, Obj | None]:
        """`auth` with its VaultAuthGlobal merged in, and that global object (or None)."""
        auth = self.connected(auth)
        ref = model.spec(auth).get("vaultAuthGlobalRef")
        if ref is None:
            return auth, None
        shared = self._global_for(auth, ref)
        self.check_allowed(model.AUTH_GLOBAL, shared, model.namespace(auth))
        result = copy.deepcopy(auth)
        _merge(result["spec"], model.spec(shared), _label(auth), _label(shared))
        return result, shared

    def _global_for(self, auth: Obj, ref: dict[str, Any]) -> Obj:
        name, namespace = ref.get("name", ""), ref.get("namespace", "")
        wants_default = bool(ref.get("allowDefault"))
        if wants_default and not self.allow_default_globals:
            raise ReferenceRefused(
                f"default vault auth is not allowed by kind=VaultAuth obj={_label(auth)}: "
                "global=false"
            )
        if name:
            place = namespace or model.namespace(auth)
            try:
                return self._find(model.AUTH_GLOBAL, place, name)
            except ReferenceRefused as error:
                raise ReferenceRefused(f"failed getting {place}/{name}, err={error}") from None
        if not wants_default:
            raise ReferenceRefused(
                f"invalid VaultAuthGlobalRef for {_label(auth)}: invalid objectKey, empty name"
            )
        places = [namespace] if namespace else [model.namespace(auth), self.operator_namespace]
        for place in places:
            if found := self.store.get(model.AUTH_GLOBAL, place, DEFAULT):
                return found
        raise ReferenceRefused(
            f"default vault auth not found in namespaces=[{' '.join(places)}]: global=true"
        )


def _label(obj: Obj) -> str:
    return f"{model.namespace(obj)}/{model.name(obj)}"


def _merge(own: dict[str, Any], shared: dict[str, Any], auth: str, origin: str) -> None:
    """Fill what `own` (a VaultAuth's spec) leaves open from `shared` (a global's spec)."""
    method = own.get("method") or shared.get("defaultAuthMethod") or ""
    if not method:
        raise ReferenceRefused(
            f"invalid merge: no auth method set in VaultAuth {auth} and no default method set "
            f"in VaultAuthGlobal {origin}"
        )
    if method not in authmethods.METHODS:
        raise ReferenceRefused(
            f'invalid merge: unsupported auth method "{method}" for global auth merge'
        )
    block = shared.get(method)
    if block is None and own.get(method) is None:
        raise ReferenceRefused(
            f"invalid merge: global auth method {method} is not configured in "
            f"VaultAuthGlobal {origin}"
        )
    if block is not None:
        fields = {key: value for key, value in block.items() if key not in _GLOBAL_EXTRAS}
        own[method] = authmethods.merged(own.get(method) or {}, fields)
        # Only what was merged is looked at here; a block of its own is when it logs in.
        if faults := authmethods.faults(method, own[method]):
            raise ReferenceRefused("invalid merge: " + "\n".join(faults))
    block = block or {}
    own["method"] = method
    mount = own.get("mount") or block.get("mount") or shared.get("defaultMount") or ""
    if not mount:
        raise ReferenceRefused(
            f"invalid merge: mount is not set in VaultAuth {auth} after merge with {origin}"
        )
    own["mount"] = mount
    own["namespace"] = (
        own.get("namespace") or block.get("namespace") or shared.get("defaultVaultNamespace") or ""
    )
    strategies = (own.get("vaultAuthGlobalRef") or {}).get("mergeStrategy") or {}
    for part in ("params", "headers"):
        layers = [shared.get(part) or {}, block.get(part) or {}, own.get(part) or {}]
        strategy = strategies.get(part) or "none"
        if strategy == "union":
            own[part] = layers[0] | layers[1] | layers[2]
        elif strategy == "replace":
            own[part] = next((layer for layer in reversed(layers) if layer), {})
        elif strategy != "none":
            raise ReferenceRefused(f'invalid merge: unsupported {part} merge strategy "{strategy}"')
    own["vaultConnectionRef"] = (
        own.get("vaultConnectionRef") or shared.get("vaultConnectionRef") or ""
    )
