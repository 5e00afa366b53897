"""From tokens to a tree, by recursive descent.

`parse` returns the main body and the templates that `define` and `block` name. Unknown
functions are refused here, as Go does, so that a bad SecretTransformation is invalid before
any secret meets it.
"""

from __future__ import annotations

import ast
from collections.abc import Container

from standins.operator.gotemplate.errors import TemplateError
from standins.operator.gotemplate.lexer import Token, tokens
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

_BRANCHES = ("if", "with", "range")
_CONSTANTS = {"true": True, "false": False, "nil": None}


def parse(
    source: str, name: str, functions: Container[str]
) -> tuple[list[Node], dict[str, list[Node]]]:
    """(body, named bodies) of `source`. TemplateError says what is wrong and on which line."""
    parser = _Parser(tokens(source, name), name, functions)
    body, word = parser.body(top=True)
    if word:
        raise parser.error(f"unexpected {{{{{word}}}}}")
    return body, parser.named


class _Parser:
    def __init__(self, found: list[Token], name: str, functions: Container[str]) -> None:
        self._tokens = found
        self._at = 0
        self._name = name
        self._functions = functions
        self._scopes: list[set[str]] = [{"$"}]
        self._loops = 0
        self.named: dict[str, list[Node]] = {}

    def error(self, message: str) -> TemplateError:
        line = self._tokens[min(self._at, len(self._tokens) - 1)].line
        return TemplateError(message, name=self._name, line=line)

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _skip_space(self) -> bool:
        before = self._at
        while self._peek().kind == "space":
            self._at += 1
        return self._at > before

    def _expect(self, kind: str, what: str) -> Token:
        self._skip_space()
        if self._peek().kind != kind:
            raise self.error(f"expected {what}")
        return self._next()

    def body(self, *, top: bool = False) -> tuple[list[Node], str]:
        """Nodes up to the `end`, `else` or end of text that closes them, and that word."""
        nodes: list[Node] = []
        while True:
            token = self._next()
            if token.kind == "end":
                self._at -= 1
                if not top:
                    raise self.error("unexpected EOF, {{end}} is missing")
                return nodes, ""
            if token.kind == "text":
                nodes.append(Text(token.text))
                continue
            self._skip_space()
            word = self._peek().text if self._peek().kind == "word" else ""
            if word in ("end", "else"):
                self._next()
                if word == "end":
                    self._expect("close", "}} after end")
                return nodes, word
            if node := self._statement(word, top):
                nodes.append(node)

    def _statement(self, word: str, top: bool) -> Node | None:
        if word in _BRANCHES:
            self._next()
            return self._branch(word)
        if word == "define":
            self._next()
            if not top:
                raise self.error("{{define}} may not stand inside another action")
            self._definition(self._template_name())
            return None
        if word in ("template", "block"):
            self._next()
            return self._call(word)
        if word in ("break", "continue"):
            self._next()
            if not self._loops:
                raise self.error(f"{{{{{word}}}}} outside {{{{range}}}}")
            self._expect("close", "}}")
            return Jump(word)
        pipe = self._pipe()
        self._expect("close", "}}")
        return Action(pipe)

    def _branch(self, word: str) -> Branch:
        self._scopes.append(set())
        pipe = self._pipe(ranging=word == "range")
        self._expect("close", "}}")
        self._loops += word == "range"
        body, closing = self._scoped()
        self._loops -= word == "range"
        otherwise: list[Node] = []
        if closing == "else":
            self._skip_space()
            follow = self._peek()
            if follow.kind == "word" and follow.text in ("if", "with") and word != "range":
                self._next()
                otherwise = [self._branch(follow.text)]
            else:
                self._expect("close", "}} after else")
                otherwise, closing = self._scoped()
                if closing != "end":
                    raise self.error("expected end after else")
        self._scopes.pop()
        return Branch(word, pipe, body, otherwise)

    def _scoped(self) -> tuple[list[Node], str]:
        self._scopes.append(set())
        try:
            return self.body()
        finally:
            self._scopes.pop()

    def _template_name(self) -> str:
        self._skip_space()
        token = self._next()
        if token.kind not in ("string", "raw"):
            raise self.error("expected a template name in quotes")
        return str(self._text(token))

    def _definition(self, name: str) -> None:
        self._expect("close", "}}")
        outer, self._scopes = self._scopes, [{"$"}]
        loops, self._loops = self._loops, 0
        body, closing = self.body()
        self._scopes, self._loops = outer, loops
        if closing != "end":
            raise self.error(f"unexpected else in define of {name}")
        self.named[name] = body

    def _call(self, word: str) -> Call:
        name, line = self._template_name(), self._peek().line
        self._skip_space()
        pipe = None if self._peek().kind == "close" else self._pipe()
        if word == "template":
            self._expect("close", "}}")
        else:
            if pipe is None:
                raise self.error("{{block}} needs a pipeline")
            self._definition(name)
        return Call(name, pipe, line)

    def _pipe(self, *, ranging: bool = False) -> Pipe:
        self._skip_space()
        line, start = self._peek().line, self._at
        variables, declare = self._declaration(ranging)
        if not variables:
            self._at = start
        commands = [self._command()]
        while self._skip_space() or True:
            if self._peek().text != "|" or self._peek().kind != "mark":
                break
            self._next()
            commands.append(self._command())
            if not isinstance(commands[-1][0], Function | Dot | Variable | Group):
                raise self.error("a pipeline may not pass a value to a constant")
        if declare:
            self._scopes[-1].update(variables)
        return Pipe(tuple(commands), variables, declare, line)

    def _declaration(self, ranging: bool) -> tuple[tuple[str, ...], bool]:
        names: list[str] = []
        while self._peek().kind == "variable":
            names.append(self._next().text)
            self._skip_space()
            if ranging and len(names) == 1 and self._peek().text == ",":
                self._next()
                self._skip_space()
                continue
            token = self._peek()
            if token.kind == "declare" or (token.kind == "mark" and token.text == "="):
                self._next()
                if token.text == "=":
                    for name in names:
                        self._known(name)
                return tuple(names), token.kind == "declare"
            break
        return (), True

    def _known(self, name: str) -> None:
        if not any(name in scope for scope in self._scopes):
            raise self.error(f'undefined variable "{name}"')

    def _command(self) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        self._skip_space()
        while True:
            token = self._peek()
            if token.kind in ("close", "end") or (token.kind == "mark" and token.text in "|)"):
                break
            operands.append(self._operand())
            if not self._skip_space() and self._peek().kind not in ("close", "mark"):
                raise self.error("arguments must be separated by blanks")
        if not operands:
            raise self.error("missing value for command")
        return tuple(operands)

    def _path(self) -> tuple[str, ...]:
        names: list[str] = []
        while self._peek().kind == "field":
            names.append(self._next().text[1:])
        return tuple(names)

    def _operand(self) -> Operand:
        token = self._next()
        if token.kind == "field":
            return Dot((token.text[1:], *self._path()))
        if token.kind == "mark" and token.text == ".":
            return Dot()
        if token.kind == "variable":
            self._known(token.text)
            return Variable(token.text, self._path())
        if token.kind == "word":
            if token.text in _CONSTANTS:
                return Literal(_CONSTANTS[token.text])
            if token.text not in self._functions:
                raise self.error(f'function "{token.text}" not defined')
            return Function(token.text)
        if token.kind == "mark" and token.text == "(":
            pipe = self._pipe()
            self._skip_space()
            if self._next().text != ")":
                raise self.error("unclosed left paren")
            return Group(pipe, self._path())
        if token.kind in ("string", "raw", "char", "number"):
            return Literal(self._text(token))
        raise self.error(f"unexpected {token.text!r} in operand")

    def _text(self, token: Token) -> str | int | float:
        if token.kind == "raw":
            return token.text[1:-1]
        try:
            if token.kind == "number":
                text = token.text.replace("_", "")
                return (
                    int(text, 0)
                    if text.lstrip("+-").isdigit() or "x" in text.lower()
                    else (float(text))
                )
            value = ast.literal_eval(token.text)
        except (ValueError, SyntaxError) as error:
            raise self.error(f"malformed {token.kind} constant") from error
        return ord(value) if token.kind == "char" else str(value)
