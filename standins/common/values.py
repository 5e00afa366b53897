"""Annotation values, parsed the way the injector's users know them.

Annotations are strings; upstream reads them with Go's parsers, and what those accept
is part of the interface: `T` is a bool and `yes` is not, an empty int is 0, a
duration needs a unit. Each parser raises ValueError with a sentence that says what
would have been right. Nothing here knows which annotation it is reading.
"""

from __future__ import annotations

import math
import re

TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE = frozenset({"", "0", "f", "F", "FALSE", "false", "False"})
INT64_MAX = 2**63 - 1

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
# Go lets underscores stand between digits, and behind the 0x of a hexadecimal fraction.
_D, _X = "[0-9]+(?:_[0-9]+)*", "[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*"
_FLOAT = re.compile(rf"[+-]?(?:{_D}(?:\.(?:{_D})?)?|\.{_D})(?:[eE][+-]?{_D})?", re.ASCII)
_HEX_FLOAT = re.compile(rf"[+-]?0[xX](?:_?{_X}(?:\.(?:{_X})?)?|\.{_X})[pP][+-]?{_D}", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(?:inf|infinity)|nan", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"[+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_DURATION_PART = re.compile(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_QUANTITY_SHAPE = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_QUANTITY_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", re.ASCII)
_QUANTITY_SUFFIX = re.compile(r"n|u|m|[kMGTPE]?|[KMGTPE]i|[eE][+-]?[0-9]+", re.ASCII)

# Go reads an exponent into 64 bits.
_LONGEST_EXPONENT = 18


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def parse_bool(text: str) -> bool:
    """Go's strconv.ParseBool, except that the empty string is false."""
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueError(f"{_shown(text)} is not a bool (true, false, 1, 0, t or f)")


def parse_int(text: str) -> int:
    """A decimal int64; the empty string is 0."""
    if text == "":
        return 0
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{_shown(text)} is not an integer")
    # The length is looked at first: turning a megabyte of digits into an int is slow.
    if len(text) > 40 or not -INT64_MAX - 1 <= int(text) <= INT64_MAX:
        raise ValueError("the integer is out of the range of 64 bits")
    return int(text)


def parse_uint(text: str) -> int:
    """A decimal number without a sign; here the empty string is an error."""
    if not re.fullmatch(r"[0-9]+", text, re.ASCII):
        raise ValueError(f"{_shown(text)} is not a whole number of 0 or more")
    if len(text) > 40 or int(text) > 2**64 - 1:
        raise ValueError("the number is out of the range of 64 bits")
    return int(text)


def parse_float(text: str) -> float:
    """Go's strconv.ParseFloat: also 0x1p-2, 1_000.5, NaN and Inf, which are no JSON.

    The empty string and what is too large for a float are errors.
    """
    plain = text.replace("_", "")
    if _NO_NUMBER.fullmatch(text):
        return float(text)
    try:
        if _HEX_FLOAT.fullmatch(text):
            return float.fromhex(plain)
        if _FLOAT.fullmatch(text) and math.isfinite(float(plain)):
            return float(plain)
    except OverflowError:
        pass
    raise ValueError(f"{_shown(text)} is not a number")


def parse_duration(text: str) -> float:
    """A Go duration ("1m30s", "250ms", "0") in seconds; a bare number has no unit."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{_shown(text)} is not a duration: it needs units, as in 10s or 1m30s")
    sign = -1.0 if text.startswith("-") else 1.0
    total = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if total * 1e9 > INT64_MAX:
        raise ValueError("the duration is longer than 292 years")
    return sign * total


def check_quantity(text: str) -> str:
    """A Kubernetes resource quantity ("250m", "64Mi"), given back as it came.

    The API server brings it into canonical form. Sign and unit are checked here, so
    that a bad one is refused with its annotation's name.
    """
    found = re.fullmatch(_QUANTITY_SHAPE, text, re.ASCII)
    if not found or not _QUANTITY_NUMBER.fullmatch(found[1]):
        raise ValueError(f"quantities must match the regular expression '{_QUANTITY_SHAPE}'")
    exponent = found[2][1:].lstrip("+-0") if found[2][:1] in ("e", "E") else ""
    if not _QUANTITY_SUFFIX.fullmatch(found[2]) or len(exponent) > _LONGEST_EXPONENT:
        raise ValueError("unable to parse quantity's suffix")
    return text
