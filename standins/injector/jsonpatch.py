"""RFC 6902 JSON Patch, for the two annotations that change the agent's containers.

Applies a patch to a copy of a document; any operation that cannot be done fails the
whole. An index below zero is refused: the RFC has none. Size is bounded by the
caller, which limits the request.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

OPERATIONS = {
    "add": ("path", "value"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "from"),
    "copy": ("path", "from"),
    "test": ("path", "value"),
}
# A patch of copies can double a document with each operation; upstream's containers
# need a few operations, so the result is held to a size nobody meets by honest means.
MAX_OPERATIONS = 200
MAX_RESULT = 256 * 1024


class PatchError(ValueError):
    """The patch is not RFC 6902, or does not fit the document."""


def escape(part: str) -> str:
    """One reference token of a JSON Pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")


def decode(text: str) -> list[dict[str, Any]]:
    """A patch from its text: a list of well-formed operations, or PatchError."""
    try:
        patch = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PatchError(f"not JSON: {error}") from error
    if patch is None:
        # Upstream reads null as a patch that does nothing.
        return []
    if not isinstance(patch, list):
        raise PatchError("a JSON Patch is a list of operations")
    if len(patch) > MAX_OPERATIONS:
        raise PatchError(f"more than {MAX_OPERATIONS} operations")
    for number, operation in enumerate(patch):
        if not isinstance(operation, dict):
            raise PatchError(f"operation {number} is not an object")
        wants = OPERATIONS.get(str(operation.get("op")))
        if wants is None:
            raise PatchError(f"operation {number} has an unknown op {operation.get('op')!r}")
        for member in wants:
            if member not in operation:
                raise PatchError(f"operation {number} ({operation['op']}) has no {member!r}")
            if member != "value" and not isinstance(operation[member], str):
                raise PatchError(f"operation {number}: {member!r} is not a string")
    return patch


def apply(document: Any, patch: list[dict[str, Any]]) -> Any:
    """A changed copy of `document`. Raises PatchError and leaves `document` alone."""
    result = copy.deepcopy(document)
    for operation in patch:
        result = _apply(result, operation)
        if len(json.dumps(result)) > MAX_RESULT:
            raise PatchError(f"the result is larger than {MAX_RESULT} bytes")
    return result


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    path = operation["path"]
    match operation["op"]:
        case "add":
            return _add(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            return _remove(document, path)
        case "replace":
            _get(document, path)
            return _add(_remove(document, path), path, copy.deepcopy(operation["value"]))
        case "move":
            if path.startswith(operation["from"] + "/"):
                raise PatchError(f"cannot move {operation['from']} into itself")
            value = _get(document, operation["from"])
            return _add(_remove(document, operation["from"]), path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_get(document, operation["from"])))
        case _:
            # JSON has no equality between 1 and true, Python has: compare the texts.
            found = json.dumps(_get(document, path), sort_keys=True)
            if found != json.dumps(operation["value"], sort_keys=True):
                raise PatchError(f"the test of {path} failed")
            return document


def _tokens(pointer: str) -> list[str]:
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise PatchError(f"the path {pointer!r} does not begin with a slash")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _step(value: Any, token: str, pointer: str) -> Any:
    if isinstance(value, dict) and token in value:
        return value[token]
    if isinstance(value, list):
        return value[_index(token, pointer, last=len(value) - 1)]
    raise PatchError(f"there is nothing at {pointer}")


def _index(token: str, pointer: str, last: int) -> int:
    # RFC 6901: digits without leading zeros; nine of them are plenty.
    if not re.fullmatch(r"0|[1-9][0-9]{0,8}", token, re.ASCII) or int(token) > last:
        raise PatchError(f"there is nothing at {pointer}")
    return int(token)


def _get(document: Any, pointer: str) -> Any:
    for token in _tokens(pointer):
        document = _step(document, token, pointer)
    return document


def _parent(document: Any, pointer: str) -> tuple[Any, str]:
    *above, last = _tokens(pointer)
    for token in above:
        document = _step(document, token, pointer)
    return document, last


def _add(document: Any, pointer: str, value: Any) -> Any:
    if pointer == "":
        return value
    parent, last = _parent(document, pointer)
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        end = len(parent)
        parent.insert(end if last == "-" else _index(last, pointer, last=end), value)
    else:
        raise PatchError(f"nothing can be added at {pointer}")
    return document


def _remove(document: Any, pointer: str) -> Any:
    if pointer == "":
        return None
    parent, last = _parent(document, pointer)
    _step(parent, last, pointer)
    if isinstance(parent, dict):
        del parent[last]
    else:
        del parent[_index(last, pointer, last=len(parent) - 1)]
    return document
