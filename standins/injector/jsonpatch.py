"""JSON Patch as upstream applies it, for the two annotations that change the agents.

Upstream uses github.com/evanphx/json-patch 5.9.11, whose rules are not those of RFC 6902:
`replace` also sets a member that is absent, an index below 0 counts from the end, a value
that is left out is null, what is before the first slash of a path is not looked at, and
`test` compares the text of numbers and texts. The same here, with the same words in its
errors; where upstream's process breaks the connection, the patch is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from standins.common import gojson
from standins.injector import literals
from standins.injector.literals import Literal

# A patch of copies can double a document with each operation; an agent's container needs a
# few operations, so both are held to a size that nobody meets by honest means.
MAX_OPERATIONS = 200
MAX_RESULT = 256 * 1024
# Characters of a patch. Kubernetes allows as much for all annotations of an object.
MAX_PATCH = 256 * 1024

# As Go's strconv.Atoi reads it; a number of more digits is no place in any list.
_INDEX = re.compile(r"([+-]?)0*([0-9]{1,9})", re.ASCII)

Operation = dict[str, Any] | None


class PatchError(ValueError):
    """The patch is not one, or does not fit the document."""


class _Missing(PatchError):
    def __init__(self, text: str) -> None:
        super().__init__(f"{text}: missing value")


class _NullValue:
    """A null that an operation gave as its value.

    The library tells it from one that was in the document: `test` does not find them equal.
    """


class _NullObject(dict[str, Any]):
    """A null that `copy` made: read like an empty object, and nothing can be put into it."""


_NULL = _NullValue()


def escape(part: str) -> str:
    """One reference token of a JSON Pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")


def decode(text: str) -> list[Operation]:
    """The operations of a patch. What is wrong in one of them is found when it is applied.

    Raises PatchError.
    """
    if len(text) > MAX_PATCH:
        raise PatchError(f"longer than {MAX_PATCH} characters")
    try:
        patch = literals.loads(text)
    except (ValueError, RecursionError) as error:
        raise PatchError(f"not JSON: {error}") from None
    if patch is None:
        return []
    if not isinstance(patch, list):
        raise PatchError("a JSON Patch is a list of operations")
    if len(patch) > MAX_OPERATIONS:
        raise PatchError(f"more than {MAX_OPERATIONS} operations")
    for number, operation in enumerate(patch):
        if not isinstance(operation, dict | None):
            raise PatchError(f"operation {number} is not an object")
    return patch


def apply(document: Any, patch: list[Operation]) -> str:
    """The JSON text of the changed document. Raises PatchError.

    `document` is a plain value, and stays as it is.
    """
    try:
        patched = _Document(literals.of(document))
        for operation in patch:
            patched.change(operation or {})
        return literals.dumps(_plain(patched.root))
    except RecursionError:
        raise PatchError("the result is nested too deeply") from None


class _Document:
    """The document in the middle of a patch."""

    def __init__(self, root: Any) -> None:
        self.root = root
        # What it may still grow by; what is taken out does not count.
        self._room = MAX_RESULT - len(literals.dumps(root))

    def change(self, operation: dict[str, Any]) -> None:
        """Carry out one operation. Raises PatchError."""
        kind = operation.get("op")
        name = kind.text if isinstance(kind, Literal) and kind.is_text else "unknown"
        work = _WORK.get(name)
        if work is None:
            raise PatchError(f"Unexpected kind: {name}")
        work(self, operation)

    def add(self, operation: dict[str, Any]) -> None:
        path = _text(operation, "path", "add operation failed to decode path")
        parent, key = self._find(
            path, f'add operation does not apply: doc is missing path: "{path}"'
        )
        self._insert(parent, key, _value(operation), f"error in add for path: '{path}'")

    def remove(self, operation: dict[str, Any]) -> None:
        path = _text(operation, "path", "remove operation failed to decode path")
        problem = f'remove operation does not apply: doc is missing path: "{path}"'
        parent, key = self._find(path, problem)
        _take_out(parent, key, f"error in remove for path: '{path}'")

    def replace(self, operation: dict[str, Any]) -> None:
        path = _text(operation, "path", "replace operation failed to decode path")
        value = _value(operation)
        if path == "":
            if not isinstance(value, dict | list):
                raise PatchError("replace operation value must be object or array")
            self._grow(value)
            self.root = value
            return
        missing = "replace operation does not apply: doc is missing"
        parent, key = self._find(path, f"{missing} path: {path}")
        if isinstance(parent, list):
            self._grow(value)
            parent[_index(len(parent), key, f"{missing} key: {path}")] = value
        else:
            self._insert(parent, key, value, f"error in replace for path: '{path}'")

    def move(self, operation: dict[str, Any]) -> None:
        source = _text(operation, "from", "move operation failed to decode from")
        missing = "move operation does not apply: doc is missing"
        parent, key = self._find(source, f"{missing} from path: {source}")
        value = _get(parent, key, f"error in move for path: '{key}'")
        _take_out(parent, key, f"error in move for path: '{key}'")
        path = _text(operation, "path", "move operation failed to decode path")
        parent, key = self._find(path, f"{missing} destination path: {path}")
        self._insert(parent, key, value, f"error in move for path: '{path}'")

    def copy(self, operation: dict[str, Any]) -> None:
        source = _text(operation, "from", "copy operation failed to decode from")
        missing = "copy operation does not apply: doc is missing"
        parent, key = self._find(source, f"{missing} from path: {source}")
        value = _get(parent, key, f"error in copy for from: '{source}'")
        path = _text(operation, "path", "copy operation failed to decode path")
        parent, key = self._find(path, f"{missing} destination path: {path}")
        self._insert(parent, key, _copied(value), "error while adding value during copy")

    def test(self, operation: dict[str, Any]) -> None:
        path = _text(operation, "path", "test operation failed to decode path")
        wanted, found = _value(operation), self.root
        if path:
            parent, key = self._find(
                path, f"test operation does not apply: is missing path: {path}"
            )
            found = _get(parent, key, f"error in test for path: '{path}'")
        nothing = wanted is None or wanted is _NULL
        if not (nothing if found is None else wanted is not None and _equal(found, wanted)):
            raise PatchError(f"testing value {path} failed: test failed")

    def _find(self, path: str, problem: str) -> tuple[Any, str]:
        """The object or list that a path leads into, and its last token."""
        tokens = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
        found = self.root
        for token in tokens[:-1]:
            if isinstance(found, list):
                place = _place(len(found), token)
                found = None if place is None else found[place]
            else:
                found = found.get(token)
            if not isinstance(found, dict | list):
                raise _Missing(problem)
        if not tokens:
            raise _Missing(problem)
        return found, tokens[-1]

    def _insert(self, parent: Any, key: str, value: Any, problem: str) -> None:
        self._grow(value)
        if isinstance(parent, _NullObject):
            raise _Missing(f"{problem}: a null holds nothing")
        if isinstance(parent, dict):
            parent[key] = value
        elif key == "-":
            parent.append(value)
        else:
            # Behind the last item is a place, too.
            parent.insert(_index(len(parent) + 1, key, problem), value)

    def _grow(self, value: Any) -> None:
        self._room -= len(literals.dumps(_plain(value)))
        if self._room < 0:
            raise PatchError(f"the result is larger than {MAX_RESULT} bytes")


_WORK: dict[str, Callable[[_Document, dict[str, Any]], None]] = {
    "add": _Document.add,
    "remove": _Document.remove,
    "replace": _Document.replace,
    "move": _Document.move,
    "copy": _Document.copy,
    "test": _Document.test,
}


def _text(operation: dict[str, Any], member: str, problem: str) -> str:
    found = operation.get(member)
    if found is None:
        raise _Missing(problem)
    if not isinstance(found, Literal) or not found.is_text:
        raise PatchError(f"{problem}: {member} is not a string")
    return found.text


def _value(operation: dict[str, Any]) -> Any:
    """The value of an operation, a copy; None when it has none."""
    if "value" not in operation:
        return None
    value = operation["value"]
    return _NULL if value is None else _plain(value)


def _place(size: int, token: str) -> int | None:
    """The place in a list of `size` items that a token names; None when there is none."""
    written = _INDEX.fullmatch(token)
    if not written:
        return None
    number = int(written[1] + written[2])
    number += size if number < 0 else 0
    return number if 0 <= number < size else None


def _index(size: int, token: str, problem: str) -> int:
    place = _place(size, token)
    if place is None:
        raise PatchError(f"{problem}: Unable to access invalid index: {token[:40]}")
    return place


def _get(parent: Any, key: str, problem: str) -> Any:
    if isinstance(parent, list):
        return parent[_index(len(parent), key, problem)]
    return parent.get(key)


def _take_out(parent: Any, key: str, problem: str) -> None:
    if isinstance(parent, list):
        del parent[_index(len(parent), key, problem)]
    elif key in parent:
        del parent[key]
    else:
        raise _Missing(f"{problem}: Unable to remove nonexistent key: {key}")


def _copied(value: Any) -> Any:
    """What `copy` adds: the library writes the value down and reads it again."""
    if value is _NULL or isinstance(value, _NullObject):
        return _NullObject()
    if isinstance(value, Literal):
        return Literal(gojson.html_escaped(value))
    if isinstance(value, dict):
        return {key: _read_again(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_read_again(item) for item in value]
    return value


def _read_again(value: Any) -> Any:
    return None if value is _NULL or isinstance(value, _NullObject) else _copied(value)


def _plain(value: Any) -> Any:
    """A copy of a value in which every null is None."""
    if value is _NULL or isinstance(value, _NullObject):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _equal(found: Any, wanted: Any) -> bool:
    """Whether the library finds them equal. `wanted` comes from an operation."""
    if isinstance(found, dict):
        return (
            isinstance(wanted, dict)
            and found.keys() == wanted.keys()
            and all(_equal_members(item, wanted[key]) for key, item in found.items())
        )
    if isinstance(found, list):
        if not isinstance(wanted, list) or len(found) != len(wanted):
            return False
        if None in found or None in wanted:
            raise PatchError("a list with a null in it cannot be tested")
        return all(_equal(item, other) for item, other in zip(found, wanted, strict=True))
    return bool(found == wanted)


def _equal_members(item: Any, other: Any) -> bool:
    return other is None if item is None else other is not None and _equal(item, other)
