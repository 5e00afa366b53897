"""Which watch event makes which object run.

A change of the spec runs its object. A change of labels or annotations does too, and for leased
secrets and certificates it asks for new ones (templates may use them). A status change runs
nothing. A lost destination runs its owner, a changed SecretTransformation or VaultAuthGlobal
runs those that refer to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from standins.common.logs import Log
from standins.operator import model, timing, transform
from standins.operator.model import Key, Obj
from standins.operator.store import Store

log = Log(__name__)

# Seconds over which many objects that run for one cause are spread.
_SPREAD = 0.1
_SPREAD_LOST_TOKEN = 0.2


class Queue(Protocol):
    """The part of a Controller that triggers use."""

    def add(self, key: Key) -> None:
        """Run now."""
        ...

    def add_after(self, key: Key, seconds: float) -> None:
        """Run then."""
        ...

    def forget(self, key: Key) -> None:
        """Run no more."""
        ...


class Triggers:
    """Turns watch events into queue entries. All state is the store and the forced set."""

    def __init__(
        self,
        store: Store,
        queues: Mapping[str, Queue],
        forced: set[Key],
        connection_changed: Callable[[Obj], None],
    ) -> None:
        self._store = store
        self._queues = queues
        self._forced = forced
        self._connection_changed = connection_changed

    def seen(self, kind: str, change: str | None, obj: Obj) -> None:
        """An object was listed (`change` None), ADDED, MODIFIED or DELETED."""
        key = model.key_of(kind, obj)
        if change == "DELETED":
            self._store.forget(key, model.uid(obj))
            if self._store.get(*key) is None:
                self._queues[kind].forget(key)
                self._forced.discard(key)
            return
        before = self._store.put(kind, obj)
        known = before is not None and model.uid(before) == model.uid(obj)
        if not known or before is None:
            self._spec_changed(kind, key, obj, created=True)
        elif model.generation(before) < model.generation(obj) or (
            model.deleting(obj) and not model.deleting(before)
        ):
            self._spec_changed(kind, key, obj, created=False)
        elif _notes(before) != _notes(obj) and kind in model.SYNCABLE:
            if kind in (model.DYNAMIC, model.PKI):
                self._forced.add(key)
            self._queues[kind].add(key)

    def _spec_changed(self, kind: str, key: Key, obj: Obj, *, created: bool) -> None:
        self._queues[kind].add(key)
        if kind == model.CONNECTION and not created:
            self._connection_changed(obj)
        elif kind == model.AUTH_GLOBAL:
            for auth in self._store.all(model.AUTH):
                if model.spec(auth).get("vaultAuthGlobalRef") is not None:
                    self._queues[model.AUTH].add(model.key_of(model.AUTH, auth))

    def transformed(self, key: Key) -> None:
        """A SecretTransformation has new content, and that is valid: its users are synced."""
        where = (key.namespace, key.name)
        for user_kind in model.SYNCABLE:
            for user in self._store.all(user_kind):
                if where in transform.references(user):
                    self._force(model.key_of(user_kind, user), _SPREAD)

    def _force(self, key: Key, spread: float) -> None:
        self._forced.add(key)
        self._queues[key.kind].add_after(key, spread * timing.uniform())

    def destination_lost(self, secret: Obj) -> None:
        """An owned Secret was deleted (metadata only)."""
        for owner in model.meta(secret).get("ownerReferences") or []:
            kind = owner.get("kind", "")
            if owner.get("apiVersion") == model.API_VERSION and kind in model.SYNCABLE:
                key = Key(kind, model.namespace(secret), owner.get("name", ""))
                if self._store.get(*key) is not None:
                    self._queues[kind].add_after(key, _SPREAD * timing.uniform())

    def client_lost(self, cache_key: str) -> None:
        """A token ended: what it leased must be replaced."""
        for obj in self._store.all(model.DYNAMIC):
            used = str((model.status(obj).get("vaultClientMeta") or {}).get("cacheKey", ""))
            # A client with a Vault namespace has it appended to the key.
            if used == cache_key or used.startswith(f"{cache_key}-"):
                self._force(model.key_of(model.DYNAMIC, obj), _SPREAD_LOST_TOKEN)


def _notes(obj: Obj) -> tuple[object, object]:
    found = model.meta(obj)
    return found.get("labels") or {}, found.get("annotations") or {}
