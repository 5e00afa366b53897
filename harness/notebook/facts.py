"""What a step's check looks for, as sentences, for a step whose author wrote no goals.

The sentences are the ones that `expect` reports when they hold, read from the source of
the check and of the helpers in its module that it hands `lab` to, with the lab's own
names put in (`lab.path("kv")` becomes `lab01-kv`). A sentence that depends on what the
check finds at run time is left out. Nothing is executed here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from dataclasses import dataclass, field
from functools import cache

from harness.lab.steps import Step

Known = dict[str, str]
Function = ast.FunctionDef

# A helper that calls itself must not be followed for ever.
DEPTH = 4


def facts(step: Step) -> list[str]:
    """The sentences of the step's check that can be read without running it, in order."""
    if step.checks is None:
        return []
    tree = ast.parse(textwrap.dedent(inspect.getsource(step.checks)))
    (check,) = (node for node in tree.body if isinstance(node, Function))
    reader = _Reader(step.lab.prefix, _functions(step.checks.__module__))
    reader.read(check.body, {}, DEPTH)
    return list(reader.found)


@cache
def _functions(module: str) -> dict[str, Function]:
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    return {node.name: node for node in tree.body if isinstance(node, Function)}


@dataclass
class _Reader:
    """Goes through statements in order, keeping the texts that local names stand for."""

    prefix: str
    helpers: dict[str, Function]
    found: dict[str, None] = field(default_factory=dict)

    def read(self, statements: list[ast.stmt], known: Known, depth: int) -> None:
        """Collect the sentences of `statements`; `known` changes with assignments."""
        for statement in statements:
            match statement:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._bind(target, value, known)
                case ast.Expr(value=ast.Call() as call):
                    self._call(call, known, depth)
                case ast.For(target=target, iter=ast.Tuple(elts=elements), body=body):
                    for element in elements:
                        self._bind(target, element, known)
                        self.read(body, known, depth)
                case ast.For(target=target, body=body):
                    self._bind(target, None, known)
                    self.read(body, known, depth)
                case ast.If(body=body, orelse=other):
                    self.read([*body, *other], known, depth)
                case ast.With(body=body) | ast.Try(body=body):
                    self.read(body, known, depth)
                case _:
                    pass

    def _call(self, call: ast.Call, known: Known, depth: int) -> None:
        if not isinstance(call.func, ast.Name):
            return
        if call.func.id == "expect":
            named = [keyword.value for keyword in call.keywords if keyword.arg == "what"]
            sentence = [self._text(what, known) for what in [*call.args[1:2], *named]]
            self.found.update(dict.fromkeys(filter(None, sentence)))
        elif depth and call.func.id in self.helpers:
            helper = self.helpers[call.func.id]
            inner: Known = {}
            for parameter, argument in zip(helper.args.args, call.args, strict=False):
                self._bind(ast.Name(parameter.arg), argument, inner | known, inner)
            self.read(helper.body, inner, depth - 1)

    def _bind(
        self, target: ast.expr, value: ast.expr | None, known: Known, into: Known | None = None
    ) -> None:
        """Let the names of `target` stand for the texts of `value`, or for nothing known."""
        into = known if into is None else into
        if isinstance(target, ast.Tuple):
            parts = value.elts if isinstance(value, ast.Tuple) else [None] * len(target.elts)
            for name, part in zip(target.elts, parts, strict=False):
                self._bind(name, part, known, into)
        elif isinstance(target, ast.Name):
            text = self._text(value, known) if value is not None else None
            into.pop(target.id, None)
            if text is not None:
                into[target.id] = text

    def _text(self, node: ast.expr, known: Known) -> str | None:
        """The text that `node` evaluates to, None when only a run can tell."""
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name):
                return known.get(name)
            case ast.Attribute(value=ast.Name(id="lab"), attr="namespace"):
                return self.prefix
            case ast.Call(func=ast.Attribute(value=ast.Name(id="lab"), attr="path"), args=args):
                words = self._texts(args, known)
                return None if words is None else f"{self.prefix}-" + "/".join(words)
            case ast.JoinedStr(values=parts):
                pieces = self._texts(parts, known)
                return None if pieces is None else "".join(pieces)
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                return self._text(value, known)
            case _:
                return None

    def _texts(self, nodes: list[ast.expr], known: Known) -> list[str] | None:
        texts = [text for node in nodes if (text := self._text(node, known)) is not None]
        return texts if len(texts) == len(nodes) else None
