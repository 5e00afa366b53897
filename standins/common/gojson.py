"""JSON the way Go reads and writes it, so that `_raw` and HMACs look as they do upstream.

Go sorts map keys, leaves no blanks, escapes `<`, `>`, `&` and, when asked to keep number
literals, prints them as they came. Python's json module does none of this, hence the small
encoder. `Number` keeps a literal exactly: 1e3 stays 1e3, a 20-digit integer keeps its digits.
It also never reads or writes NaN and Infinity, which are no JSON: a server that is given
them cannot decode the whole answer.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_LINE_ENDS = {"\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"} | _LINE_ENDS)
_ALWAYS = str.maketrans(_LINE_ENDS)
_WHOLE = re.compile(r"-?[0-9]{1,19}", re.ASCII)
# Half a surrogate pair. Python's codecs also write a byte that is no UTF-8 as one of these,
# 0xDC00 above its value (the error handler "surrogateescape").
_HALF = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


class Number(str):
    """A JSON number as it was written. A text in templates, as Go's json.Number is."""

    __slots__ = ()


class Structure(dict[str, Any]):
    """The fields of a Go structure, which are written in their own order."""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def loads(text: str | bytes) -> Any:
    """The value of a JSON text, with every number kept as a `Number`.

    Raises ValueError, also for NaN, Infinity and UTF-16, and RecursionError. What is no
    Unicode becomes U+FFFD, as in Go: bytes that are no UTF-8, and half surrogate pairs.
    """
    if isinstance(text, bytes):
        text = decoded(text)
    found = json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_no_constant)
    return paired(found) if "\\ud" in text.lower() or _HALF.search(text) else found


def parse(text: str | bytes) -> Any:
    """The value of a JSON text with Python's numbers; ValueError for one that is not finite."""
    return json.loads(text, parse_float=_finite, parse_constant=_no_constant)


def parsed_object(text: str | bytes) -> dict[str, Any] | None:
    """The JSON object that `text` holds, None when it holds anything else."""
    try:
        found = parse(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _finite(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise ValueError(f"{literal[:40]} is out of range")
    return number


def whole(value: Any) -> int:
    """A `Number` that is a whole one of 64 bits, written without a fraction. Raises ValueError."""
    if not isinstance(value, Number) or not _WHOLE.fullmatch(value):
        raise ValueError("not a whole number")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError("a number of more than 64 bits")
    return number


def text_of(value: Any) -> str:
    """JSON text without blanks, in ASCII, of a value as `parse` gives them.

    Raises ValueError for NaN and Infinity.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def decoded(data: bytes) -> str:
    """The text of bytes; each one that is no UTF-8 becomes U+FFFD, as in Go."""
    return _HALF.sub(_REPLACEMENT, data.decode("utf-8", "surrogateescape"))


def paired(value: Any) -> Any:
    """The value with U+FFFD for each half of a surrogate pair."""
    if isinstance(value, Number):
        return value
    if isinstance(value, str):
        return _HALF.sub(_REPLACEMENT, value)
    if isinstance(value, list):
        return [paired(item) for item in value]
    if isinstance(value, dict):
        return {paired(key): paired(item) for key, item in value.items()}
    return value


def html_escaped(text: str) -> str:
    """A JSON text with the characters escaped that Go's encoder always escapes."""
    return text.translate(_ESCAPES)


def _quote(text: str, escape: bool) -> str:
    quoted = json.dumps(text, ensure_ascii=False).translate(_ESCAPES if escape else _ALWAYS)
    # What is half a pair here was a byte that is no UTF-8: `loads` leaves none in.
    return _HALF.sub(r"\\ufffd", quoted)


def format_float(value: float) -> str:
    """`value` as Go's encoding/json prints a float64 (the shortest digits that read back)."""
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{value} has no JSON form")
    size = abs(value)
    digits = repr(value)
    if size != 0 and (size < 1e-6 or size >= 1e21):
        # Such a number always has an exponent in Python, too.
        mantissa, _, exponent = digits.partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"
    if "e" in digits:
        # The digits that read back, with zeros around them: not those of the binary value.
        digits = f"{Decimal(digits):f}"
    return digits.removesuffix(".0")


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
            for key in (value if isinstance(value, Structure) else sorted(value, key=str))
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
