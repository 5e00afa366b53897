"""JSON into the structures of a Go program, by the rules of Go's encoding/json.

`Types` names the fields of each structure with their Go tags and types. `decode` checks a
value against one of them and gives it back as Go would write it: names in any capitals are
found, unknown ones dropped, null is the empty value, a whole number has to fit its type and
may not be written as 1.0, and empty fields are left out where the tag says omitempty. A name
that is given twice counts the last time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from standins.common.gojson import Number, Structure

Types = Mapping[str, Mapping[str, str]]
Parse = Callable[[Any], Any]

_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
}
_EMPTY: dict[str, Any] = {"string": "", "bool": False, **dict.fromkeys(_RANGES, 0)}
_LONGEST = 40


class TypeMismatch(ValueError):
    """A value of another type than the field; the text quotes numbers and no texts."""


class Decoder:
    """Decodes values of some types.

    `own` has the types that parse themselves, from the JSON value to what is written;
    they raise ValueError. `package` is what Go prints before a structure's name.
    """

    def __init__(
        self, types: Types, own: Mapping[str, Parse] | None = None, *, package: str = ""
    ) -> None:
        self._types = types
        self._own = own or {}
        self._package = package
        self._fields = {
            name: {_folded(tag.partition(",")[0]): (tag, kind) for tag, kind in fields.items()}
            for name, fields in types.items()
        }

    def decode(self, kind: str, value: Any) -> Any:
        """The value as Go would write it again. Raises TypeMismatch and RecursionError.

        `value` comes from `gojson.loads`.
        """
        return self._decode(kind, value, "")

    def knows(self, structure: str, name: str) -> bool:
        """Whether a name, in any capitals, is that of a field."""
        return _folded(name) in self._fields[structure]

    def _decode(self, kind: str, value: Any, where: str) -> Any:
        if kind in self._own:
            return self._parse(kind, value)
        if kind == "any":
            return value
        if kind.startswith("*"):
            return None if value is None else self._decode(kind[1:], value, where)
        if kind.startswith("[]"):
            if value is None:
                return None
            items = self._typed(list, kind, value, where)
            return [self._decode(kind[2:], item, where) for item in items]
        if kind.startswith("map[string]"):
            if value is None:
                return None
            members = self._typed(dict, kind, value, where)
            inner = kind.removeprefix("map[string]")
            return {key: self._decode(inner, item, where) for key, item in members.items()}
        if kind in self._types:
            members = {} if value is None else self._typed(dict, kind, value, where)
            return self._structure(kind, members, where)
        if value is None:
            return _EMPTY[kind]
        if kind in _RANGES:
            return self._number(kind, value, where)
        return self._typed(bool if kind == "bool" else str, kind, value, where)

    def _structure(self, kind: str, members: dict[str, Any], where: str) -> Structure:
        known = self._fields[kind]
        # Go names the innermost structure and then the whole way to the field.
        way = where.partition(".")[2]
        given: dict[str, Any] = {}
        for key, value in members.items():
            found = known.get(_folded(key))
            if found:
                tag, inner = found
                name = tag.partition(",")[0]
                path = f"{way}.{name}" if way else name
                given[tag] = self._decode(inner, value, f"{kind}.{path}")
        written = Structure()
        for tag, inner in self._types[kind].items():
            name, _, options = tag.partition(",")
            value = given[tag] if tag in given else self._decode(inner, None, where)
            if not options or not _left_out(inner, value):
                written[name] = value
        return written

    def _parse(self, kind: str, value: Any) -> Any:
        try:
            return self._own[kind](value)
        except ValueError as error:
            raise TypeMismatch(str(error)) from None

    def _number(self, kind: str, value: Any, where: str) -> int:
        if not isinstance(value, Number):
            raise self._mismatch(kind, value, where)
        low, high = _RANGES[kind]
        # Go reads no sign, not even that of -0, for a type without one.
        digits = value.removeprefix("-") if low else value
        if not digits.isdigit() or len(digits) > _LONGEST or not low <= int(value) <= high:
            raise self._mismatch(kind, value, where)
        return int(value)

    def _typed(self, wanted: type[Any], kind: str, value: Any, where: str) -> Any:
        if not isinstance(value, wanted) or isinstance(value, Number):
            raise self._mismatch(kind, value, where)
        return value

    def _mismatch(self, kind: str, value: Any, where: str) -> TypeMismatch:
        place = f"Go struct field {where}" if where else "Go value"
        found = _kind_of(value)
        if isinstance(value, Number) and kind in _RANGES:
            found = f"number {value[:_LONGEST]}"
        return TypeMismatch(
            f"json: cannot unmarshal {found} into {place} of type {self._shown(kind)}"
        )

    def _shown(self, kind: str) -> str:
        prefix = kind.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
        name = kind.removeprefix(prefix)
        return f"{prefix}{self._package}.{name}" if name in self._types and self._package else kind


def _left_out(kind: str, value: Any) -> bool:
    """Whether omitempty leaves it out: a pointer only when it is null, a structure never."""
    if kind.startswith("*") or value is None:
        return value is None
    if kind.startswith(("[]", "map")) or kind in _EMPTY or kind == "any":
        return not value
    return False


def _folded(name: str) -> str:
    """The name in the form in which Go compares it: capitals, and two letters like them."""
    return name.replace("\u017f", "s").replace("\u212a", "k").lower()


def _kind_of(value: Any) -> str:
    if isinstance(value, Number):
        return "number"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
