"""What a step's check looks for, as sentences: the goal that an exercise states.

The sentences are the ones that `expect` reports when they hold, read from the source of
the check, with the lab's own names put in (`lab.path("kv")` becomes `lab01-kv`). A
sentence that depends on what the check finds at run time is left out: it could not be
read before. Nothing is executed here.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

from harness.steps import Step

Known = dict[str, str]


def facts(step: Step) -> list[str]:
    """The sentences of the step's check that can be read without running it, in order."""
    if step.checks is None:
        return []
    tree = ast.parse(textwrap.dedent(inspect.getsource(step.checks)))
    known = _known(tree, step.lab.prefix)
    found: dict[str, None] = {}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: node.lineno):
        if not (isinstance(call.func, ast.Name) and call.func.id == "expect"):
            continue
        what = call.args[1] if len(call.args) > 1 else _keyword(call, "what")
        sentence = _text(what, known, step.lab.prefix) if what is not None else None
        if sentence:
            found[sentence] = None
    return list(found)


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _known(tree: ast.AST, prefix: str) -> Known:
    """Local names that are assigned once, to a text that can be read."""
    values: dict[str, list[str | None]] = {}
    assignments = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    for node in sorted(assignments, key=lambda assign: assign.lineno):
        so_far = {name: text[0] for name, text in values.items() if len(text) == 1 and text[0]}
        for target in node.targets:
            pairs: list[tuple[ast.expr, ast.expr | None]] = [(target, node.value)]
            if isinstance(target, ast.Tuple):
                sources = (
                    node.value.elts
                    if isinstance(node.value, ast.Tuple)
                    else [None] * len(target.elts)
                )
                pairs = list(zip(target.elts, sources, strict=False))
            for name, value in pairs:
                if isinstance(name, ast.Name):
                    text = _text(value, so_far, prefix) if value is not None else None
                    values.setdefault(name.id, []).append(text)
    return {name: text[0] for name, text in values.items() if len(text) == 1 and text[0]}


def _text(node: ast.expr, known: Known, prefix: str) -> str | None:
    """The text that `node` evaluates to, None when that is not known before the run."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return known.get(name)
        case ast.Attribute(value=ast.Name(id="lab"), attr="namespace"):
            return prefix
        case ast.Call(func=ast.Attribute(value=ast.Name(id="lab"), attr="path"), args=args):
            words = [_text(arg, known, prefix) for arg in args]
            return None if None in words else f"{prefix}-" + "/".join(filter(None, words))
        case ast.JoinedStr(values=parts):
            pieces = [_text(part, known, prefix) for part in parts]
            return None if None in pieces else "".join(filter(None, pieces))
        case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
            return _text(value, known, prefix)
        case _:
            return None
