"""Walks a parsed template with data and writes text.

Values are Python's: dict, list, str, int, float, bool, None. `Number` literals from Vault are
texts, as Go's json.Number is. A missing map key is None and prints `<no value>`; a missing
field of the top-level input is an error, as it is for a Go struct.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from standins.operator.gotemplate.builtins import BUILTINS, kind_of, printed, truth
from standins.operator.gotemplate.errors import TemplateError
from standins.operator.gotemplate.parser import parse
from standins.operator.gotemplate.sprig import SPRIG
from standins.operator.gotemplate.tree import (
    Action,
    Branch,
    Call,
    Dot,
    Function,
    Group,
    Jump,
    Literal,
    Node,
    Operand,
    Pipe,
    Text,
    Variable,
)

FUNCTIONS: dict[str, Callable[..., Any]] = {**SPRIG, **BUILTINS}
# Short-circuited: their arguments are evaluated one by one.
_LAZY = ("and", "or")
# A template that calls itself without end must not take the operator down.
_DEEPEST = 100


class Templates:
    """A set of named templates that may call one another."""

    def __init__(self) -> None:
        self._bodies: dict[str, list[Node]] = {}

    def add(self, name: str, source: str) -> None:
        """Parse `source` under `name`, with all that it defines."""
        body, named = parse(source, name, {*FUNCTIONS, *_LAZY})
        self._bodies[name] = body
        self._bodies.update(named)

    def render(self, name: str, data: Mapping[str, Any]) -> str:
        """The text of template `name` for `data`, whose keys are the fields of `.`."""
        return _Run(self._bodies, name).template(name, _Input(data), 0)


class _Input(dict[str, Any]):
    """The top-level data: a struct, whose fields are fixed."""


class _JumpOut(Exception):
    def __init__(self, word: str) -> None:
        self.word = word


class _Run:
    def __init__(self, bodies: Mapping[str, list[Node]], name: str) -> None:
        self._bodies = bodies
        self._name = name
        self._line = 0
        self._depth = 0
        self._out: list[str] = []
        self._variables: list[tuple[str, Any]] = []

    def _error(self, message: str) -> TemplateError:
        return TemplateError(message, name=self._name, line=self._line)

    def template(self, name: str, data: Any, line: int) -> str:
        self._call(name, data, line)
        return "".join(self._out)

    def _call(self, name: str, data: Any, line: int) -> None:
        self._line = line or self._line
        if name not in self._bodies:
            raise self._error(f'template "{name}" not defined')
        if self._depth >= _DEEPEST:
            raise self._error(f'template "{name}" calls itself too deeply')
        outer, outer_name = self._variables, self._name
        self._variables, self._name = [("$", data)], name
        self._depth += 1
        self._walk(self._bodies[name], data)
        self._depth -= 1
        self._variables, self._name = outer, outer_name

    def _walk(self, nodes: Iterable[Node], dot: Any) -> None:
        mark = len(self._variables)
        for node in nodes:
            if isinstance(node, Text):
                self._out.append(node.text)
            elif isinstance(node, Action):
                value = self._pipe(node.pipe, dot)
                if not node.pipe.variables:
                    self._out.append(printed(value))
            elif isinstance(node, Branch):
                self._branch(node, dot)
            elif isinstance(node, Call):
                data = self._pipe(node.pipe, dot) if node.pipe else None
                self._call(node.name, data, node.line)
            elif isinstance(node, Jump):
                raise _JumpOut(node.word)
        del self._variables[mark:]

    def _branch(self, node: Branch, dot: Any) -> None:
        mark = len(self._variables)
        if node.word == "range":
            self._range(node, dot)
        else:
            value = self._pipe(node.pipe, dot)
            if truth(value):
                self._walk(node.body, value if node.word == "with" else dot)
            else:
                self._walk(node.otherwise, dot)
        del self._variables[mark:]

    def _range(self, node: Branch, dot: Any) -> None:
        value = self._commands(node.pipe, dot)
        pairs = self._pairs(value)
        if not pairs:
            self._walk(node.otherwise, dot)
        names = node.pipe.variables
        for key, item in pairs:
            mark = len(self._variables)
            values = (key, item) if len(names) == 2 else (item,)
            for name, bound in zip(names, values, strict=False):
                self._bind(name, bound, node.pipe.declare)
            try:
                self._walk(node.body, item)
            except _JumpOut as jump:
                if jump.word == "break":
                    break
            finally:
                del self._variables[mark:]

    def _pairs(self, value: Any) -> list[tuple[Any, Any]]:
        if value is None:
            return []
        if isinstance(value, Mapping):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, list):
            return list(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return [(i, i) for i in range(value)]
        raise self._error(f"range can't iterate over a {kind_of(value)} <redacted>")

    def _bind(self, name: str, value: Any, declare: bool) -> None:
        if declare:
            self._variables.append((name, value))
            return
        for at in range(len(self._variables) - 1, -1, -1):
            if self._variables[at][0] == name:
                self._variables[at] = (name, value)
                return

    def _pipe(self, pipe: Pipe, dot: Any) -> Any:
        value = self._commands(pipe, dot)
        for name in pipe.variables:
            self._bind(name, value, pipe.declare)
        return value

    def _commands(self, pipe: Pipe, dot: Any) -> Any:
        self._line = pipe.line or self._line
        value: Any = None
        for at, command in enumerate(pipe.commands):
            piped = [value] if at else []
            value = self._command(command, piped, dot)
        return value

    def _command(self, command: tuple[Operand, ...], piped: list[Any], dot: Any) -> Any:
        first, rest = command[0], command[1:]
        if isinstance(first, Function):
            return self._function(first.name, rest, piped, dot)
        if first == Literal(None):
            raise self._error("nil is not a command")
        if rest or piped:
            raise self._error("can't give argument to non-function")
        return self._value(first, dot)

    def _function(self, name: str, rest: tuple[Operand, ...], piped: list[Any], dot: Any) -> Any:
        if name in _LAZY:
            value: Any = None
            for operand in [*rest, *map(Literal, piped)]:
                value = self._value(operand, dot)
                if truth(value) == (name == "or"):
                    break
            return value
        arguments = [self._value(operand, dot) for operand in rest] + piped
        try:
            return FUNCTIONS[name](*arguments)
        except TemplateError as error:
            raise self._error(f"error calling {name}: {error.message}") from None
        except Exception as error:
            # A function's own error may quote a value: only its type is told.
            kinds = ", ".join(kind_of(argument) for argument in arguments)
            raise self._error(
                f"error calling {name} with ({kinds}): {type(error).__name__} <redacted>"
            ) from None

    def _value(self, operand: Operand, dot: Any) -> Any:
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Dot):
            return self._follow(dot, operand.path)
        if isinstance(operand, Variable):
            for name, value in reversed(self._variables):
                if name == operand.name:
                    return self._follow(value, operand.path)
            raise self._error(f"undefined variable: {operand.name}")
        if isinstance(operand, Group):
            return self._follow(self._pipe(operand.pipe, dot), operand.path)
        return self._function(operand.name, (), [], dot)

    def _follow(self, value: Any, path: tuple[str, ...]) -> Any:
        for name in path:
            if isinstance(value, _Input) and name not in value:
                raise self._error(f"can't evaluate field {name} in the template's input")
            if value is None:
                # What lies below a missing key is missing too.
                return None
            if not isinstance(value, Mapping):
                raise self._error(f"can't evaluate field {name} in type {kind_of(value)}")
            value = value.get(name)
        return value
