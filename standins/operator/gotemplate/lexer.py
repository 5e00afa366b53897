"""Text and actions: cuts a template into tokens.

Outside `{{ }}` everything is one text token; inside, blanks only part the tokens, but the
parser must know where they were: `.a.b` is one path, `.a .b` are two arguments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from standins.operator.gotemplate.errors import TemplateError

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<string>"(?:\\.|[^"\\\n])*")
  | (?P<raw>`[^`]*`)
  | (?P<char>'(?:\\[^']*|[^'\\\n])')
  | (?P<declare>:=)
  | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+))
  | (?P<variable>\$\w*)
  | (?P<field>\.[^\W\d]\w*)
  | (?P<word>[^\W\d]\w*)
  | (?P<mark>[=|(),.])
    """,
    re.VERBOSE,
)
_COMMENT = re.compile(r"(?:- +|-\s)?/\*.*?\*/(?P<close>\s-)?\}\}", re.DOTALL)
_BLANKS = " \t\r\n"


@dataclass(frozen=True)
class Token:
    """`kind` is a group name of the lexer, or `text`, `open`, `close`, `end`."""

    kind: str
    text: str
    line: int


def tokens(source: str, name: str) -> list[Token]:
    """All tokens of `source`; TemplateError for what is no Go template."""
    result: list[Token] = []
    at, line, trim_next = 0, 1, False
    while True:
        start = source.find("{{", at)
        text = source[at:] if start < 0 else source[at:start]
        shown = text.lstrip(_BLANKS) if trim_next else text
        trim_next = False
        if start >= 0 and _opens_with_trim(source, start + 2):
            shown = shown.rstrip(_BLANKS)
        if shown:
            result.append(Token("text", shown, line))
        line += text.count("\n")
        if start < 0:
            result.append(Token("end", "", line))
            return result
        comment = _COMMENT.match(source, start + 2)
        if comment:
            trim_next = bool(comment.group("close"))
            line += comment.group(0).count("\n")
            at = comment.end()
            continue
        result.append(Token("open", "{{", line))
        at, line, trim_next = _action(source, start + 2, line, name, result)


def _opens_with_trim(source: str, at: int) -> bool:
    return source.startswith("-", at) and source[at + 1 : at + 2] in tuple(_BLANKS)


def _action(
    source: str, at: int, line: int, name: str, result: list[Token]
) -> tuple[int, int, bool]:
    """Read one action into `result`; (position after it, line, whether it trims what follows)."""
    if _opens_with_trim(source, at):
        at += 1
    while True:
        if source.startswith("}}", at):
            result.append(Token("close", "}}", line))
            return at + 2, line, False
        if source.startswith("-}}", at) and result[-1].kind == "space":
            result.append(Token("close", "}}", line))
            return at + 3, line, True
        found = _TOKEN.match(source, at)
        if found is None:
            what = "unclosed action" if at >= len(source) else "unexpected character in action"
            raise TemplateError(what, name=name, line=line)
        result.append(Token(str(found.lastgroup), found.group(0), line))
        line += found.group(0).count("\n")
        at = found.end()
