"""The parsed form of a template: plain data, walked by `execute`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Literal:
    """A string, number, boolean or nil."""

    value: Any


@dataclass(frozen=True)
class Dot:
    """`.`, perhaps with a path: `.a.b`."""

    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variable:
    """`$x`, perhaps with a path. `$` alone is the data that the template was called with."""

    name: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Function:
    """A function's name, where a command or an argument stands."""

    name: str


@dataclass(frozen=True)
class Group:
    """`(pipeline)`, perhaps with a path behind it."""

    pipe: Pipe
    path: tuple[str, ...] = ()


Operand = Literal | Dot | Variable | Function | Group


@dataclass(frozen=True)
class Pipe:
    """`$a, $b := command | command`: `declare` tells `:=` from `=`."""

    commands: tuple[tuple[Operand, ...], ...]
    variables: tuple[str, ...] = ()
    declare: bool = True
    line: int = 0


@dataclass(frozen=True)
class Text:
    """Characters that are copied."""

    text: str


@dataclass(frozen=True)
class Action:
    """A pipeline whose value is printed, unless it sets variables."""

    pipe: Pipe


@dataclass(frozen=True)
class Branch:
    """`if`, `with` or `range`, with the part after `else`."""

    word: str
    pipe: Pipe
    body: list[Node] = field(default_factory=list)
    otherwise: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """`template "name" pipeline`."""

    name: str
    pipe: Pipe | None
    line: int = 0


@dataclass(frozen=True)
class Jump:
    """`break` or `continue`."""

    word: str


Node = Text | Action | Branch | Call | Jump
