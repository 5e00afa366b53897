"""What the watches have told about the custom resources: a small read cache.

Reconcilers read from here instead of asking the API server, so 500 secrets polled each
minute cost it nothing. A write's answer is put back at once, so that a reconcile that
follows sees its own status. An older version never replaces a newer one, and the answer of a
write that comes after the news of the object's deletion does not bring it back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from standins.operator import model
from standins.operator.model import Key, Obj

# An answer comes within seconds of the watch's news; so many objects do not go in that time.
_REMEMBERED = 10_000


def _version(obj: Obj) -> int:
    text = str(model.meta(obj).get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


def _slim(obj: Obj) -> Obj:
    # managedFields are most of an object's size, and nobody here reads them.
    kept = {key: value for key, value in model.meta(obj).items() if key != "managedFields"}
    return {**obj, "metadata": kept}


class Store:
    """Objects by key. Readers get the stored dict and must not change it."""

    def __init__(self) -> None:
        self._objects: dict[Key, Obj] = {}
        # The UIDs of objects that are gone, the latest ones: a UID never comes back.
        self._gone: OrderedDict[str, None] = OrderedDict()

    def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object as last seen."""
        return self._objects.get(Key(kind, namespace, name))

    def all(self, kind: str) -> Iterator[Obj]:
        """All objects of a kind (a snapshot: safe while others write)."""
        return iter([obj for key, obj in self._objects.items() if key.kind == kind])

    def put(self, kind: str, obj: Obj) -> Obj | None:
        """Remember `obj`; returns what was known before."""
        key = model.key_of(kind, obj)
        before = self._objects.get(key)
        if model.uid(obj) in self._gone:
            return before
        same = before is not None and model.uid(before) == model.uid(obj)
        if before is None or not same or _version(before) <= _version(obj):
            self._objects[key] = {**_slim(obj), "kind": kind}
        return before

    def forget(self, key: Key, uid: str = "") -> None:
        """The object is gone; with `uid` only if it is still that one."""
        known = self._objects.get(key)
        gone = uid or (model.uid(known) if known is not None else "")
        if gone:
            self._gone[gone] = None
            while len(self._gone) > _REMEMBERED:
                self._gone.popitem(last=False)
        if known is not None and (not uid or model.uid(known) == uid):
            del self._objects[key]
