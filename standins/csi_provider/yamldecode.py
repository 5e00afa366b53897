"""YAML nodes into values, by the rules of gopkg.in/yaml.v3 v3.0.1.

One key may not be given twice, null leaves a field as it is, `<<` takes in what another
mapping has and the own one has not. Aliases stand for what they refer to, up to a bound:
a few hundred bytes of them could stand for gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from standins.common import gobase64
from standins.csi_provider import yamlscalars as scalars
from standins.csi_provider.yamltext import ALIAS, DEEPEST, MAPPING, SCALAR, SEQUENCE, Node

# What all aliases of a text may add: nodes, and characters of their scalars.
MOST_NODES = 10_000
MOST_CHARACTERS = 1024 * 1024
# Levels, with those that aliases add.
DEEPEST_ALIASES = DEEPEST + 30
LARGEST = 2**32 - 1

T = TypeVar("T")

Key = Callable[[Node], str | None]
Put = Callable[[str, Node], None]


class NotDecodable(ValueError):
    """The YAML does not fit; the text quotes no value."""


class Decoder:
    """Decodes the nodes of one text."""

    def __init__(self) -> None:
        self._nodes = MOST_NODES
        self._characters = MOST_CHARACTERS
        self._following: set[Node] = set()
        self._depth = 0
        # Names that the mapping which is merged into has already; None outside of a merge.
        self._merged: set[str] | None = None

    def items(self, node: Node | None, decode: Callable[[Node], Any]) -> list[Any]:
        """A list of structures. Null ones are left out, as Go does. Raises NotDecodable."""
        if node is None or self._nothing(node):
            return []
        return self._through(node, lambda list_: self._items(list_, decode))

    def _items(self, node: Node, decode: Callable[[Node], Any]) -> list[Any]:
        if node.kind != SEQUENCE:
            raise NotDecodable("must be a list")
        return [decode(each) for each in node.items if not self._nothing(each)]

    def fields(self, node: Node, names: tuple[str, ...]) -> dict[str, Node]:
        """The values of a structure's fields, as nodes. Raises NotDecodable."""
        found: dict[str, Node] = {}
        self._through(
            node, lambda members: self._members(members, self.text, found.__setitem__, names)
        )
        return {name: value for name, value in found.items() if name in names}

    def text(self, node: Node) -> str | None:
        """A text field: a scalar as it is written; None for null. Raises NotDecodable."""
        return self._through(node, self._text)

    def _text(self, node: Node) -> str | None:
        if node.kind != SCALAR:
            raise NotDecodable("must be text")
        value = self._scalar(node)
        if value is None:
            return None
        return str(value) if node.tag == scalars.BINARY else node.value

    def number(self, node: Node) -> int | None:
        """An unsigned integer of 32 bits; None for null. Raises NotDecodable."""
        return self._through(node, self._number)

    def _number(self, node: Node) -> int | None:
        value = self._scalar(node) if node.kind == SCALAR else ""
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
            raise NotDecodable("must be a number such as 0644")
        return value

    def mapping(self, node: Node) -> dict[str, Any] | None:
        """A mapping of names to any values; None for null. Raises NotDecodable."""
        if self._nothing(node):
            return None
        found: dict[str, Any] = {}
        self._through(node, lambda members: self._members(members, self.text, self._set_in(found)))
        return found

    def anything(self, node: Node) -> Any:
        """Whatever the node stands for. Raises NotDecodable."""
        return self._through(node, self._anything)

    def _anything(self, node: Node) -> Any:
        if node.kind == SCALAR:
            value = self._scalar(node)
            if isinstance(value, scalars.Timestamp) and not value.has_json_form:
                raise NotDecodable("a time zone of more than 23 hours has no JSON form")
            return value
        if node.kind == SEQUENCE:
            return [self.anything(each) for each in node.items]
        found: dict[str, Any] = {}
        if any(key.short_tag not in (scalars.STR, scalars.MERGE) for key, _ in node.pairs):
            raise NotDecodable("a mapping inside has keys that are no text: no JSON")
        self._members(node, self.text, self._set_in(found))
        return found

    def _nothing(self, node: Node) -> bool:
        return self._through(
            node, lambda found: found.kind == SCALAR and self._scalar(found) is None
        )

    def _set_in(self, found: dict[str, Any]) -> Put:
        def put(name: str, value: Node) -> None:
            found[name] = self.anything(value)

        return put

    def _scalar(self, node: Node) -> Any:
        if node.tag == scalars.STR:
            return node.value
        try:
            tag, value = scalars.resolve(node.tag, node.value)
            if tag == scalars.BINARY:
                # What is no UTF-8 stays apart from text until it is written as JSON.
                return gobase64.decode(node.value).decode("utf-8", "surrogateescape")
        except ValueError as error:
            raise NotDecodable(str(error)) from None
        return value

    def _members(self, node: Node, key: Key, put: Put, fields: tuple[str, ...] = ()) -> None:
        """`put` each member of a mapping; one of `fields` may only come once."""
        if node.kind != MAPPING:
            raise NotDecodable("must be a mapping")
        _refuse_repetition(node)
        merged, self._merged = self._merged, None
        source: Node | None = None
        done: set[str] = set()
        for name_node, value in node.pairs:
            if _is_merge(name_node):
                source = value
                continue
            name = key(name_node)
            if name is None:
                continue
            if merged is not None:
                if name in merged:
                    continue
                merged.add(name)
            if name in done and name in fields:
                raise NotDecodable(f"{name} is given twice")
            done.add(name)
            put(name, value)
        self._merged = merged
        if source is not None:
            self._merge(node, source, lambda more: self._members(more, key, put, fields))

    def _merge(self, node: Node, source: Node, take: Callable[[Node], None]) -> None:
        before = self._merged
        if before is None:
            names = [self.anything(name) for name, _ in node.pairs]
            self._merged = {
                name
                for name in names
                if isinstance(name, str) and not isinstance(name, scalars.Timestamp)
            }
        for each in source.items if source.kind == SEQUENCE else [source]:
            wanted = each.target if each.kind == ALIAS else each
            if wanted is None or wanted.kind != MAPPING:
                raise NotDecodable("map merge requires map or sequence of maps as the value")
            self._through(each, take)
        self._merged = before

    def _through(self, node: Node, decode: Callable[[Node], T]) -> T:
        """What `decode` makes of the node, or of the one that an alias refers to."""
        self._depth += 1
        if self._following:
            self._nodes -= 1
            self._characters -= len(node.value)
        if self._nodes < 0 or self._characters < 0 or self._depth > DEEPEST_ALIASES:
            raise NotDecodable("document contains excessive aliasing")
        try:
            if node.target is None:
                return decode(node)
            if node in self._following:
                raise NotDecodable(f"anchor {node.value[:60]!r} value contains itself")
            self._following.add(node)
            try:
                return self._through(node.target, decode)
            finally:
                self._following.discard(node)
        finally:
            self._depth -= 1


def _is_merge(node: Node) -> bool:
    return node.kind == SCALAR and node.value == "<<" and node.tag == scalars.MERGE


def _refuse_repetition(node: Node) -> None:
    seen: set[tuple[str, str]] = set()
    for name, _ in node.pairs:
        if (name.kind, name.value) in seen:
            raise NotDecodable(f"{name.value[:60]} is given twice")
        seen.add((name.kind, name.value))
