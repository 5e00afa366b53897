"""The nodes of a YAML document, put together as gopkg.in/yaml.v3 does.

libyaml, of which the Go library is a copy, reads the text into events; what a scalar means
is decided in yamlscalars.py, and yamldecode.py makes values of the nodes. Only the first
document of a text counts. Deep nesting is refused: what walks over the nodes is recursive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from standins.csi_provider import yamlscalars as scalars

# Far beyond any class.
DEEPEST = 50

SCALAR, SEQUENCE, MAPPING, ALIAS = "scalar", "sequence", "mapping", "alias"


class UnsafeYaml(yaml.YAMLError):
    """YAML that could stand for far more than it says."""


@dataclass(eq=False)
class Node:
    """One node; `value` is a scalar's text or the name that an alias refers to.

    A mapping's `items` are keys and values in turn.
    """

    kind: str
    tag: str
    value: str = ""
    quoted: bool = False
    items: list[Node] = field(default_factory=list)
    target: Node | None = None

    @property
    def short_tag(self) -> str:
        """The tag, an alias's is that of what it refers to."""
        return self.target.short_tag if self.target else self.tag

    @property
    def pairs(self) -> list[tuple[Node, Node]]:
        """The keys of a mapping with their values."""
        return list(zip(self.items[::2], self.items[1::2], strict=True))


def compose(text: str) -> Node | None:
    """The root of the first document, None for an empty text. Raises yaml.YAMLError."""
    return _Composer(text).document()


class _Composer:
    def __init__(self, text: str) -> None:
        # The parser in Python has other rules about tabs.
        self._events: Any = yaml.CSafeLoader(text)
        self._anchors: dict[str, Node] = {}
        # What closes the flow collections, those in braces and brackets, that are open.
        self._flow: list[str] = []

    def document(self) -> Node | None:
        self._events.get_event()
        if self._events.check_event(yaml.StreamEndEvent):
            return None
        start = self._events.get_event()
        if start.version not in (None, (1, 1)):
            raise yaml.YAMLError("found incompatible YAML document")
        root = self._node(1)
        self._events.get_event()
        return root

    def _node(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise UnsafeYaml(f"nested deeper than {DEEPEST} levels")
        event = self._events.get_event()
        if isinstance(event, yaml.AliasEvent):
            name = event.anchor or ""
            if name not in self._anchors:
                raise yaml.YAMLError("an alias refers to no anchor before it")
            return Node(ALIAS, "", name, target=self._anchors[name])
        tag = "" if event.tag in (None, "!") else scalars.short_tag(event.tag)
        if isinstance(event, yaml.ScalarEvent):
            if self._flow and not event.style and "?" in event.value:
                # To the Go library it ends the text and begins a key.
                raise yaml.YAMLError(f"did not find expected ',' or '{self._flow[-1]}'")
            return self._anchored(event, _scalar(event, tag))
        listed = isinstance(event, yaml.SequenceStartEvent)
        default = scalars.SEQ if listed else scalars.MAP
        node = self._anchored(event, Node(SEQUENCE if listed else MAPPING, tag or default))
        end = yaml.SequenceEndEvent if listed else yaml.MappingEndEvent
        flow = ["]" if listed else "}"] if event.flow_style else []
        self._flow += flow
        while not self._events.check_event(end):
            node.items.append(self._node(depth + 1))
        self._events.get_event()
        del self._flow[len(self._flow) - len(flow) :]
        return node

    def _anchored(self, event: Any, node: Node) -> Node:
        # A name that is given again means the later node from here on.
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node


def _scalar(event: yaml.ScalarEvent, tag: str) -> Node:
    quoted = bool(event.style)
    if any("\ud800" <= character <= "\udfff" for character in event.value):
        raise yaml.YAMLError("found invalid Unicode character escape code")
    if not tag:
        tag = scalars.STR if quoted else scalars.resolve("", event.value)[0]
    return Node(SCALAR, tag, event.value, quoted)
