"""What the source of a step says: its body as a cell, and the names that body needs.

A notebook shows a learner exactly the code that the tour and pytest run, so the body of
`do` is cut out of the file and moved to the left margin, comments included. The marks of
gaps (harness.lab.gaps) make the exercise of it. A body that cannot stand alone (a `return`,
a name that nothing defines) is refused when the notebook is rendered, not when a learner
runs it. Nothing is executed here.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from harness.lab.gaps import opened, solved
from harness.lab.steps import Step

_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True)
class Source:
    """The body of one step's `do`.

    `code` is at the left margin, `exercise` the same with gaps ("" when no line is marked).
    `imports` maps each name of the module that it uses,
    imported there or defined there, to the statement that imports it into a notebook.
    `tools` are the attributes of `lab` that it uses; `reads` and `leaves` are keys of
    `lab.notes`.
    """

    code: str
    exercise: str
    imports: dict[str, str]
    tools: tuple[str, ...]
    reads: tuple[str, ...]
    leaves: tuple[str, ...]


@dataclass(frozen=True)
class _Module:
    lines: list[str]
    functions: dict[str, ast.FunctionDef]
    imports: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)


def source_of(step: Step) -> Source:
    """Read the step's source. Raises TypeError when its body cannot stand as a cell."""
    module = _read(step.do.__module__)
    function = module.functions.get(step.name)
    if function is None:
        raise TypeError(f"step {step.id} ({step.name}) is no function of {step.do.__module__}")
    body = function.body
    if ast.get_docstring(function, clean=False) is not None:
        body = body[1:]
    if not body:
        raise TypeError(f"step {step.id} ({step.name}) does nothing")
    _refuse_what_needs_a_function(step, body)
    used = _names_used(body) - _names_bound(function)
    here = {name: f"from {step.do.__module__} import {name}" for name in module.names}
    importable = here | module.imports
    unknown = used - set(importable) - set(dir(builtins)) - {"lab"}
    if unknown:
        raise TypeError(
            f"step {step.id} ({step.name}) uses {', '.join(sorted(unknown))}, "
            f"which no statement at the top of {step.do.__module__} defines"
        )
    first = function.body[0].end_lineno if body is not function.body else body[0].lineno - 1
    assert first is not None
    reads, leaves = _notes(body)
    marked = _at_margin(module.lines, first + 1, body)
    return Source(
        code=solved(marked),
        exercise=opened(marked),
        imports={name: importable[name] for name in sorted(used & set(importable))},
        tools=tuple(sorted(_tools(body))),
        reads=reads,
        leaves=leaves,
    )


def grouped_imports(statements: Iterable[str], width: int = 100) -> list[str]:
    """The statements as they stand at the top of a module, one name each before.

    Standard library, then others, then this project's own, with a blank line between;
    names from one module are joined into one statement of at most `width` columns.
    """
    groups: dict[int, dict[str, list[str]]] = {}
    for statement in sorted(set(statements)):
        head, keyword, name = statement.partition(" import ")
        module = statement.split()[1]
        names = groups.setdefault(_import_group(module), {}).setdefault(head, [])
        names += [name] if keyword else []
    lines: list[str] = []
    for _, heads in sorted(groups.items()):
        lines += [""] if lines else []
        for head, names in sorted(heads.items(), key=lambda item: item[0].startswith("from ")):
            line = f"{head} import {', '.join(names)}" if names else head
            if len(line) > width:
                line = "\n    ".join([f"{head} import (", *(f"{name}," for name in names)]) + "\n)"
            lines.append(line)
    return lines


def _import_group(module: str) -> int:
    root = module.partition(".")[0]
    return 0 if root in sys.stdlib_module_names else 2 if root in ("harness", "labs") else 1


@cache
def _read(name: str) -> _Module:
    text = inspect.getsource(importlib.import_module(name))
    tree = ast.parse(text)
    module = _Module(
        lines=text.splitlines(),
        functions={node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)},
    )
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                module.imports[bound] = f"import {_alias(alias)}"
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            for alias in node.names:
                bound = alias.asname or alias.name
                module.imports[bound] = f"from {node.module} import {_alias(alias)}"
        else:
            module.names.update(_stored(node))
    return module


def _alias(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _stored(node: ast.AST) -> set[str]:
    """The names that one top-level statement binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    return {
        inner.id
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
    }


def _refuse_what_needs_a_function(step: Step, body: list[ast.stmt]) -> None:
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom | ast.Nonlocal):
            raise TypeError(
                f"step {step.id} ({step.name}) has a {type(node).__name__.lower()}: "
                "its body must also run as a notebook cell"
            )
        if not isinstance(node, _NESTED):
            waiting.extend(ast.iter_child_nodes(node))


def _walk(body: list[ast.stmt]) -> list[ast.AST]:
    return [node for statement in body for node in ast.walk(statement)]


def _names_used(body: list[ast.stmt]) -> set[str]:
    return {
        node.id
        for node in _walk(body)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _names_bound(function: ast.FunctionDef) -> set[str]:
    """Every name that the function or anything nested in it binds."""
    bound: set[str] = set()
    for node in ast.walk(function):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                bound.add(name)
            case ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) if node is not function:
                bound.add(name)
            case ast.alias(name=name, asname=asname):
                bound.add(asname or name.partition(".")[0])
            case _:
                pass
    return bound - {"lab"}


def _tools(body: list[ast.stmt]) -> set[str]:
    return {
        node.attr
        for node in _walk(body)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "lab"
    }


def _notes(body: list[ast.stmt]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys of `lab.notes[...]` that are read, and those that are left for later."""
    reads: dict[str, None] = {}
    leaves: dict[str, None] = {}
    for node in _walk(body):
        match node:
            case ast.Subscript(
                value=ast.Attribute(value=ast.Name(id="lab"), attr="notes"),
                slice=ast.Constant(value=str(key)),
                ctx=ctx,
            ):
                (leaves if isinstance(ctx, ast.Store) else reads)[key] = None
            case _:
                pass
    return tuple(key for key in reads if key not in leaves), tuple(leaves)


def _at_margin(lines: list[str], first: int, body: list[ast.stmt]) -> str:
    """Lines `first` to the body's end (1-based), moved left by the body's indent.

    The inside of a multi-line string moves along when all of it can; otherwise it stays
    as it is, because it would change if only a part of it moved.
    """
    margin = " " * body[0].col_offset
    last = body[-1].end_lineno or first
    fixed: set[int] = set()
    for node in _walk(body):
        if not isinstance(node, ast.Constant | ast.JoinedStr) or node.end_lineno is None:
            continue
        inside = range(node.lineno + 1, node.end_lineno + 1)
        if any(lines[n - 1].strip() and not lines[n - 1].startswith(margin) for n in inside):
            fixed.update(inside)
    moved = [
        line if number in fixed else line.removeprefix(margin)
        for number, line in enumerate(lines[first - 1 : last], start=first)
    ]
    return "\n".join(moved).strip("\n")
