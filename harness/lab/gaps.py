"""What an exercise leaves open: marks at the ends of lines, in Python, YAML and shell alike.

The source of a step is its solution. A mark `#?` says that its line has a gap (a formatter
of Python makes `# ?` of it, which is the same):

    roleName: app            #? the role that knows this account
    audience=vault \\         #? the audience of the pod's token
    kubectl get pod web      #?(pod web) the object that mounts the class
    name: app                #?(app -> web) another pod's name is wrong here

The solution has the line without the mark. The exercise has `____` in place of the value,
and the text behind the mark as a comment. The value is what stands behind `key:`, `name=` or
`-`, and otherwise the last word; text in brackets names it. With an arrow the exercise has a
mistake to repair instead of a gap. A line that a backslash continues can bear no comment in a
shell: there the text comes in a line above the command. (In Python such a line needs a raw
string: a backslash before a mark would be an escape.)
"""

from __future__ import annotations

import re

from harness.base.errors import UsageError

GAP = "____"
_ARROW = " -> "

_MARK = re.compile(r"^(.*\S)[ \t]+# ?\?(?:\((.+?)\)(?=\s|$))?(?:[ \t]+(.*?))?[ \t]*$")
_OPEN = re.compile(r"(?<!\w)____(?!\w)")
# What may follow the value on its line and stays: a comma, a pipe, a backslash.
_VALUE = (
    re.compile(r"^(?P<before>\s*(?:- )?[\w./-]+:\s+)(?P<value>\S.*?)(?P<after>,?)$"),
    re.compile(r"^(?P<before>\s*- )(?P<value>\S.*?)(?P<after>)$"),
    re.compile(r"^(?P<before>\s*\w+ = )(?P<value>\S.*?)(?P<after>)$"),
    re.compile(r"^(?P<before>.*?[\w-]+=)(?P<value>[^\s=]+?)(?P<after>,?|;?|\s+[\\|])$"),
    re.compile(r"^(?P<before>.*\s|\s*)(?P<value>[^\s|\\]\S*?)(?P<after>,?|;?|\s+[\\|])$"),
)


def solved(text: str) -> str:
    """The text without its marks."""
    return "\n".join(_without_mark(line) for line in text.split("\n"))


def opened(text: str) -> str:
    """The text with a gap, or a mistake, in each marked line; "" when no line is marked.

    Raises TypeError when a mark names a value that its line does not have.
    """
    lines: list[str] = []
    found = False
    for line in text.split("\n"):
        match = _MARK.match(line)
        if match is None:
            lines.append(line)
            continue
        found = True
        code, named, hint = match[1], match[2] or "", match[3] or ""
        changed = _replaced(code, named)
        if not hint:
            lines.append(changed)
        elif code.endswith("\\"):
            lines.insert(_start_of_command(lines), f"{_indent(changed)}# {hint}")
            lines.append(changed)
        else:
            lines.append(f"{changed}  # {hint}")
    return "\n".join(lines) if found else ""


def require_filled(text: str) -> None:
    """Raise UsageError when the text still has a gap, with its line."""
    for line in text.split("\n"):
        if _OPEN.search(line):
            raise UsageError(
                f"there is still a gap in `{line.strip()}`",
                hint=f"write what belongs there in place of {GAP}; lab.hint(...) helps",
            )


def _without_mark(line: str) -> str:
    match = _MARK.match(line)
    return match[1] if match else line


def _replaced(code: str, named: str) -> str:
    """The line with a gap; `named` is the value, or `value -> mistake`, or "" for the usual."""
    if not named:
        match = next(filter(None, (pattern.match(code) for pattern in _VALUE)))
        return f"{match['before']}{GAP}{match['after']}"
    value, _, mistake = named.partition(_ARROW)
    before, there, after = code.rpartition(value)
    if not there:
        raise TypeError(f"the mark #?({named}) names what its line has not: {code.strip()}")
    return f"{before}{mistake or GAP}{after}"


def _start_of_command(lines: list[str]) -> int:
    """Where the command begins that a next line would continue."""
    at = len(lines)
    while at and lines[at - 1].endswith("\\"):
        at -= 1
    return at


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
