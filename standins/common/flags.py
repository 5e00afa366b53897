"""Command lines with the rules of Go's flag package, whose flags people and charts write.

A stand-in lists its flags as fields of a frozen dataclass and `read` makes one of it. One dash
or two; `-name=value` or `-name value`, but a bool stands alone or takes `=`; the last of two
wins. What follows a word that is no flag would be ignored by Go; here it is an error.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from standins.common import values

T = TypeVar("T")

_OCTAL = re.compile(r"([+-]?)0([0-7_]+)")


class BadFlag(ValueError):
    """A flag or a variable cannot be used; `str()` names it."""


def flag(
    name: str,
    default: Any,
    about: str,
    parse: Callable[[str], Any] = str,
    *,
    variable: str = "",
) -> Any:
    """A dataclass field for the flag `name`. Without a default (...) the flag is required.

    `parse` raises ValueError for what it cannot read; `variable` may set the flag, too.
    """
    metadata = {"flag": name, "about": about, "parse": parse, "variable": variable}
    if default is ...:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def switch(name: str, default: bool, about: str, *, variable: str = "") -> Any:
    """A dataclass field for a bool flag, which may stand alone."""
    return flag(name, default, about, boolean, variable=variable)


def boolean(text: str) -> bool:
    """Go's strconv.ParseBool."""
    if not text:
        raise ValueError("empty")
    return values.parse_bool(text)


def integer(text: str) -> int:
    """Go's strconv.ParseInt with base 0: decimal, 0x, 0o, 0b, a leading 0 for octal, and _."""
    octal = _OCTAL.fullmatch(text)
    return int(octal[1] + octal[2], 8) if octal else int(text, 0)


def read(
    kind: type[T],
    program: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    variables_first: bool = False,
) -> T:
    """The settings of a command line. Raises BadFlag; -help prints the flags and ends.

    A flag goes before its variable unless `variables_first`; an empty variable is none.
    """
    every = dataclasses.fields(kind)  # type: ignore[arg-type]  # T is a dataclass
    fields = {each.metadata["flag"]: each for each in every if "flag" in each.metadata}
    given = _given(fields, program, arguments)
    found: dict[str, Any] = {}
    for name, each in fields.items():
        variable = each.metadata["variable"]
        text, source = given.get(name), f"flag -{name}"
        if (set_outside := (environment or {}).get(variable)) and (variables_first or text is None):
            text, source = set_outside, variable
        if text is not None:
            try:
                found[each.name] = each.metadata["parse"](text)
            except ValueError as error:
                raise BadFlag(f"invalid value {text!r} for {source}: {error}") from None
        elif each.default is dataclasses.MISSING:
            raise BadFlag(f"-{name} is missing: {each.metadata['about']}")
    return kind(**found)


def _given(
    fields: Mapping[str, dataclasses.Field[Any]], program: str, arguments: Sequence[str]
) -> dict[str, str]:
    """The flags on the command line with their texts."""
    given: dict[str, str] = {}
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word == "--" and not left:
            break
        dashes = 2 if word.startswith("--") else 1
        name, is_set, text = word[dashes:].partition("=")
        if not word.startswith("-") or word in ("-", "--"):
            raise BadFlag(f"unexpected argument {word!r}: the flags after it would be ignored")
        if not name or name.startswith("-"):
            raise BadFlag(f"bad flag syntax: {word}")
        if name not in fields:
            if name in ("h", "help"):
                print(_usage(fields, program))
                raise SystemExit(0)
            raise BadFlag(f"flag provided but not defined: -{name}; -help lists them")
        if not is_set and fields[name].metadata["parse"] is boolean:
            text = "true"
        elif not is_set:
            if not left:
                raise BadFlag(f"flag needs an argument: -{name}")
            text = left.pop(0)
        given[name] = text
    return given


def _usage(fields: Mapping[str, dataclasses.Field[Any]], program: str) -> str:
    lines = [f"Usage of {program}:"]
    for name, each in sorted(fields.items()):
        notes = [each.metadata["about"]]
        if each.default is dataclasses.MISSING:
            notes.append("required")
        elif each.default not in ("", False):
            notes.append(f"default {each.default}")
        if each.metadata["variable"]:
            notes.append(each.metadata["variable"])
        value = "" if each.metadata["parse"] is boolean else " value"
        lines.append(f"  -{name}{value}\n\t{'; '.join(notes)}")
    return "\n".join(lines)
