"""The YAML of the `objects` parameter, read the way the real provider reads it.

That is a Go library's YAML 1.2 with a few 1.1 habits: `yes` and `12:30` are text, 0644
and 0o644 are octal. PyYAML's own resolver follows YAML 1.1, hence the small one here.
Aliases are refused, since a few hundred bytes of them can stand for gigabytes, and so
is deep nesting.
"""

from __future__ import annotations

import re

import yaml

# Far beyond any class; the parser is recursive and one request must not hold up the rest.
DEEPEST = 50


class UnsafeYaml(yaml.YAMLError):
    """YAML that could stand for far more than it says."""


class Loader(yaml.SafeLoader):
    """A safe loader with this project's scalar rules and without aliases."""

    # Empty, so that PyYAML's rules are not inherited; PyYAML itself wants a plain attribute,
    # to which add_implicit_resolver below adds this class's own.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node, as PyYAML composes it, unless it is an alias or too deep."""
        if self.check_event(yaml.AliasEvent):
            raise UnsafeYaml("aliases are not accepted")
        self.depth += 1
        if self.depth > DEEPEST:
            raise UnsafeYaml(f"nested deeper than {DEEPEST} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*|0o?[0-7]+|0x[0-9a-fA-F]+)")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
)
_RULES = (
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("null", re.compile(r"(?:~|null|Null|NULL|)$"), "~nN\0"),
    ("int", re.compile(f"(?:{INTEGER.pattern})$"), "-+0123456789"),
    ("float", re.compile(f"(?:{_FLOAT.pattern})$"), "-+0123456789."),
    ("merge", re.compile(r"(?:<<)$"), "<"),
)


def parse_integer(text: str) -> int:
    """The value of a YAML integer; a leading 0 or 0o means octal."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.lstrip("+"))
    if digits.startswith("0x"):
        return sign * int(digits, 16)
    if digits.startswith("0") and digits != "0":
        return sign * int(digits.removeprefix("0").removeprefix("o"), 8)
    return sign * int(digits)


def _construct_integer(loader: Loader, node: yaml.ScalarNode) -> int:
    return parse_integer(str(loader.construct_scalar(node)))


for _name, _pattern, _first in _RULES:
    Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", _pattern, ["" if c == "\0" else c for c in _first]
    )
Loader.add_constructor("tag:yaml.org,2002:int", _construct_integer)
