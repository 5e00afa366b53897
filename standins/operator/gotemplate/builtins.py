"""Go's own template functions, and how Go prints, compares and tests values."""

from __future__ import annotations

import html as html_module
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus

from standins.common import gojson
from standins.operator.gotemplate.errors import TemplateError

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:\.(?P<precision>\d*))?(?P<verb>.)")
# %v of a float64 has an exponent of ten from seven digits before the point on.
_EXPONENT_FROM = 1e6


def kind_of(value: Any) -> str:
    """The name of Go's kind for a value."""
    if value is None:
        return "invalid"
    for kind, types in (
        ("bool", bool),
        ("string", str),
        ("int", int),
        ("float64", float),
        ("map", Mapping),
        ("slice", list),
        ("slice", bytes),
    ):
        if isinstance(value, types):
            return kind
    return type(value).__name__


def truth(value: Any) -> bool:
    """Whether `if` takes the value for true: not nil, not zero, not empty."""
    return bool(value)


def printed(value: Any) -> str:
    """The value as an action prints it."""
    return "<no value>" if value is None else plain(value)


def plain(value: Any) -> str:
    """The value as %v prints it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{plain(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(plain(item) for item in value) + "]"
    return str(value)


def _float(value: float) -> str:
    """%v of a float64: the shortest digits, an exponent from 1e+06 on and below 1e-04."""
    size = abs(value)
    if 1e-4 <= size < _EXPONENT_FROM or not size:
        return gojson.format_float(value)
    digits, exponent = Decimal(repr(value)).as_tuple()[1:]
    mantissa = "".join(map(str, digits)).rstrip("0") or "0"
    power = int(exponent) + len(digits) - 1
    point = "." if len(mantissa) > 1 else ""
    sign = "-" if value < 0 else ""
    return f"{sign}{mantissa[0]}{point}{mantissa[1:]}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _comparable(one: Any, other: Any) -> None:
    kinds = {kind_of(one), kind_of(other)}
    if kinds & {"map", "slice"}:
        raise TemplateError("non-comparable type")
    if len(kinds) > 1 and "invalid" not in kinds:
        raise TemplateError("incompatible types for comparison")


def equal(first: Any, *others: Any) -> bool:
    """`eq`: whether the first argument equals any of the others."""
    if not others:
        raise TemplateError("missing argument for comparison")
    for other in others:
        _comparable(first, other)
    return any(first == other for other in others)


def _less(one: Any, other: Any) -> bool:
    _comparable(one, other)
    if isinstance(one, bool) or one is None or other is None:
        raise TemplateError("invalid type for comparison")
    return bool(one < other)


def index(value: Any, *keys: Any) -> Any:
    """`index`: the item at each key or position, one after the other."""
    for key in keys:
        if value is None:
            raise TemplateError("index of untyped nil")
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, (list, str)) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise TemplateError("index out of range")
            value = value[key] if isinstance(value, list) else value.encode()[key]
        else:
            raise TemplateError(f"can't index item of type {kind_of(value)}")
    return value


def slice_(value: Any, *bounds: int) -> Any:
    """`slice`: a part of a list (sprig's, which hides Go's own: strings are refused)."""
    if not isinstance(value, list):
        raise TemplateError(f"list should be type of slice or array but {kind_of(value)}")
    start, stop = (*bounds, None, None)[:2]
    return value[start:stop]


def length(value: Any) -> int:
    """`len`: bytes of a string, items of a list or map."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, (list, Mapping)):
        return len(value)
    raise TemplateError(f"len of type {kind_of(value)}")


def go_quote(value: str) -> str:
    """A Go string literal."""
    out = []
    for char in value:
        code = ord(char)
        short = {
            '"': '\\"',
            "\\": "\\\\",
            "\n": "\\n",
            "\t": "\\t",
            "\r": "\\r",
            "\a": "\\a",
            "\b": "\\b",
            "\f": "\\f",
            "\v": "\\v",
        }.get(char)
        if short:
            out.append(short)
        elif char.isprintable():
            out.append(char)
        elif code < 0x80:
            out.append(f"\\x{code:02x}")
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


def _formatted(verb: str, flags: str, precision: str | None, value: Any) -> str:
    limit = None if precision is None else int(precision or 0)
    number = isinstance(value, int) and not isinstance(value, bool)
    if verb == "v":
        return plain(value)
    if verb == "t" and isinstance(value, bool):
        return plain(value)
    if verb in "sq" and isinstance(value, (str, list, Mapping)):
        text = plain(value)[:limit]
        return go_quote(text) if verb == "q" else text
    if verb in "xX" and isinstance(value, str):
        text = value.encode().hex()
        return text.upper() if verb == "X" else text
    if verb in "dxXob" and number:
        sign = "+" if "+" in flags and value >= 0 else ""
        return sign + format(value, verb)
    if verb in "cU" and number:
        return chr(value) if verb == "c" else f"U+{value:04X}"
    if verb in "feEgGF" and isinstance(value, float):
        if limit is None and verb in "gG":
            return _float(value)
        return format(value, f"{'+' if '+' in flags else ''}.{6 if limit is None else limit}{verb}")
    raise TemplateError(f"%{verb} does not fit a {kind_of(value)}")


def printf(pattern: str, *arguments: Any) -> str:
    """`printf` with the verbs v s q d b o x X c U t e f g, width, precision and `-+0`."""
    left = list(arguments)

    def one(found: re.Match[str]) -> str:
        verb, flags = found.group("verb"), found.group("flags")
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        text = _formatted(verb, flags, found.group("precision"), left.pop(0))
        width = int(found.group("width") or 0)
        if "-" in flags:
            return text.ljust(width)
        if "0" in flags and verb in "dxXobfeEgG":
            return text.zfill(width)
        return text.rjust(width)

    result = _VERB.sub(one, pattern)
    if left:
        raise TemplateError("printf has more arguments than its format has verbs")
    return result


def print_(*arguments: Any) -> str:
    """`print`: blanks only between two values of which neither is a string."""
    out = ""
    for at, value in enumerate(arguments):
        if at and not isinstance(value, str) and not isinstance(arguments[at - 1], str):
            out += " "
        out += plain(value)
    return out


def println(*arguments: Any) -> str:
    """`println`: blanks between all values and a line's end."""
    return " ".join(plain(value) for value in arguments) + "\n"


def _html(*arguments: Any) -> str:
    text = html_module.escape(print_(*arguments))
    return text.replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


BUILTINS: dict[str, Callable[..., Any]] = {
    "eq": equal,
    "ne": lambda one, other: not equal(one, other),
    "lt": _less,
    "le": lambda one, other: _less(one, other) or equal(one, other),
    "gt": lambda one, other: not _less(one, other) and not equal(one, other),
    "ge": lambda one, other: not _less(one, other),
    "not": lambda value: not truth(value),
    "len": length,
    "index": index,
    "slice": slice_,
    "print": print_,
    "println": println,
    "printf": printf,
    "html": _html,
    "urlquery": lambda *arguments: quote_plus(print_(*arguments)),
}
