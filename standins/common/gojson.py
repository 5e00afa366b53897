"""JSON the way Go writes it, so that `_raw` and HMACs look as they do upstream.

Go sorts map keys, leaves no blanks, escapes `<`, `>`, `&` and, when asked to keep number
literals, prints them as they came. Python's json module does none of this, hence the small
encoder. `Number` keeps a literal exactly: 1e3 stays 1e3, a 20-digit integer keeps its digits.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


class Number(str):
    """A JSON number as it was written. A text in templates, as Go's json.Number is."""

    __slots__ = ()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def loads(text: str | bytes) -> Any:
    """The value of a JSON text, with every number kept as a `Number`."""
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_no_constant)


def parse(text: str | bytes) -> Any:
    """The value of a JSON text with Python's numbers; ValueError for one that is not finite."""
    return json.loads(text, parse_float=_finite, parse_constant=_no_constant)


def _finite(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise ValueError(f"{literal} is out of range")
    return number


def _quote(text: str, escape: bool) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted.translate(_ESCAPES) if escape else quoted


def format_float(value: float) -> str:
    """`value` as Go's encoding/json prints a float64 (the shortest digits that read back)."""
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{value} has no JSON form")
    size = abs(value)
    if size != 0 and (size < 1e-6 or size >= 1e21):
        mantissa, _, exponent = repr(value).partition("e")
        if not exponent:
            mantissa, _, exponent = f"{value:.17e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent):+03d}".replace("e-0", "e-")
    text = repr(value)
    if "e" in text:
        text = f"{value:.0f}" if size >= 1 else f"{value:.20f}".rstrip("0")
    return text.removesuffix(".0")


def dumps(value: Any, *, escape: bool = True, indent: int = 0, _level: int = 0) -> str:
    """JSON text of `value`; `escape=False` leaves `<>&` alone; `indent` sets blanks a level.

    Bytes become base64, as Go does with []byte. Raises TypeError for anything else that has
    no JSON form.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return _quote(value, escape)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, bytes):
        return f'"{base64.b64encode(value).decode()}"'
    if isinstance(value, Mapping):
        parts = [
            f"{_quote(str(key), escape)}:{' ' if indent else ''}"
            + dumps(value[key], escape=escape, indent=indent, _level=_level + 1)
            for key in sorted(value, key=str)
        ]
        return _wrap("{", parts, "}", indent, _level)
    if isinstance(value, (list, tuple)):
        parts = [dumps(item, escape=escape, indent=indent, _level=_level + 1) for item in value]
        return _wrap("[", parts, "]", indent, _level)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _wrap(opening: str, parts: list[str], closing: str, indent: int, level: int) -> str:
    if not indent or not parts:
        return opening + ",".join(parts) + closing
    inner = "\n" + " " * indent * (level + 1)
    return opening + inner + ("," + inner).join(parts) + "\n" + " " * indent * level + closing
