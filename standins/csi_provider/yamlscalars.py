"""What a plain YAML scalar stands for, by the rules of gopkg.in/yaml.v3 v3.0.1.

Those are YAML 1.2's with habits of 1.1: `0644`, `0o644`, `0b1010` and `1_000` are numbers,
`2030-01-01` is a time, while `yes`, `on` and `12:30` are text. `08` is no octal number and
so becomes a float.
"""

from __future__ import annotations

import datetime
import math
import re

NULL, BOOL, STR, INT, FLOAT = "!!null", "!!bool", "!!str", "!!int", "!!float"
TIMESTAMP, BINARY, MERGE, SEQ, MAP = "!!timestamp", "!!binary", "!!merge", "!!seq", "!!map"

Value = None | bool | int | float | str

_LONG = "tag:yaml.org,2002:"
_RESOLVABLE = ("", STR, BOOL, INT, FLOAT, NULL, TIMESTAMP)
_WORDS: dict[str, tuple[str, Value]] = {
    **dict.fromkeys(("true", "True", "TRUE"), (BOOL, True)),
    **dict.fromkeys(("false", "False", "FALSE"), (BOOL, False)),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), (NULL, None)),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), (FLOAT, math.nan)),
    **{sign + word: (FLOAT, math.inf) for sign in ("", "+") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), (FLOAT, -math.inf)),
}
_PLAIN_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
# What begins with a dot is read without taking the underscores out first.
_DOT_FLOAT = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?", re.ASCII)
_INTEGER = re.compile(
    r"([-+]?)(?:0[bB]([01]+)|0[oO]([0-7]+)|0[xX]([0-9a-fA-F]+)|0([0-7]*)|([1-9][0-9]*))", re.ASCII
)
_BASES = (2, 8, 16, 8, 10)
# Go tries these after its own notation, and there the sign stands behind the prefix.
_ODD_INTEGER = re.compile(r"0(?:b([-+][01]+)|o([-+][0-7]+))", re.ASCII)
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:(?: +|([Tt]))([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})"
    r"(?:[.,]([0-9]+))?(Z|[-+][0-9]{2}:[0-9]{2})?)?",
    re.ASCII,
)
# Digits of the longest integer, in base 2.
_LONGEST_NUMBER = 64


class Timestamp(str):
    """A time, in the form in which Go writes it into JSON."""

    __slots__ = ()

    @property
    def has_json_form(self) -> bool:
        """Go reads zones of 24 hours and more and does not write them."""
        return self.endswith("Z") or self[-5:-3] < "24"


class Unresolvable(ValueError):
    """The scalar is not of the type that its tag says."""


def short_tag(tag: str) -> str:
    """`!!int` for `tag:yaml.org,2002:int`; other tags as they are."""
    return f"!!{tag.removeprefix(_LONG)}" if tag.startswith(_LONG) else tag


def resolve(tag: str, text: str) -> tuple[str, Value]:
    """The tag and the value of a plain scalar with this short tag, "" for none.

    Raises Unresolvable.
    """
    if tag not in _RESOLVABLE:
        return tag, text
    found, value = (STR, text) if tag == STR else _plain(tag, text)
    if tag in ("", found, STR):
        return found, value
    if tag == FLOAT and found == INT:
        return FLOAT, float(value or 0)
    raise Unresolvable(f"cannot decode {found} as a {tag}")


def _plain(tag: str, text: str) -> tuple[str, Value]:
    if text in _WORDS:
        return _WORDS[text]
    if text == "<<":
        return MERGE, text
    first = text[:1]
    if first == ".":
        number = _float(text) if _DOT_FLOAT.fullmatch(text) else None
        return (STR, text) if number is None else (FLOAT, number)
    if first not in "+-0123456789":
        return STR, text
    if tag in ("", TIMESTAMP):
        moment = _timestamp(text)
        if moment is not None:
            return TIMESTAMP, moment
    plain = text.replace("_", "")
    integer = _integer(plain)
    if integer is not None:
        return INT, integer
    number = _float(plain) if _PLAIN_FLOAT.fullmatch(plain) else None
    if number is not None:
        return FLOAT, number
    odd = _ODD_INTEGER.fullmatch(plain)
    if odd:
        integer = _bounded(odd[1] or odd[2], 2 if odd[1] else 8)
        if integer is not None:
            return INT, integer
    return STR, text


def _integer(plain: str) -> int | None:
    """What Go's strconv makes of it: an int64, or a uint64 that has no sign."""
    found = _INTEGER.fullmatch(plain)
    if not found:
        return None
    sign, *by_base = found.groups()
    digits, base = next(
        (digits, base) for digits, base in zip(by_base, _BASES, strict=True) if digits is not None
    )
    return _bounded(sign + (digits or "0"), base)


def _bounded(written: str, base: int) -> int | None:
    """The number if an int64 holds it, or, without a sign, a uint64."""
    if len(written.lstrip("+-0")) > _LONGEST_NUMBER:
        return None
    number = int(written, base)
    signed = written[0] in "+-"
    return number if -(2**63) <= number < (2**63 if signed else 2**64) else None


def _float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _timestamp(text: str) -> Timestamp | None:
    """The time in one of the four notations that the library reads."""
    found = _TIME.fullmatch(text)
    if not found:
        return None
    year, month, day, letter, hour, minute, second, fraction, zone = found.groups()
    # With a T there has to be a zone, with a blank there may be none.
    if hour is not None and (letter is None) != (zone is None):
        return None
    try:
        moment = datetime.datetime(
            # Python's years begin with 1, Go's with 0; a leap year is one in both.
            int(year) or 4, int(month), int(day), int(hour or 0), int(minute or 0),
            int(second or 0),
        )  # fmt: skip
    except ValueError:
        return None
    nanoseconds = (fraction or "")[:9].rstrip("0")
    tail = f".{nanoseconds}" if nanoseconds else ""
    offset = _offset(zone or "Z")
    if offset is None:
        return None
    return Timestamp(f"{year}{moment:-%m-%dT%H:%M:%S}{tail}{offset}")


def _offset(zone: str) -> str | None:
    if zone == "Z":
        return zone
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 24 or minutes > 60:
        return None
    if hours == minutes == 0:
        return "Z"
    # Sixty minutes are an hour, as Go counts them.
    return f"{zone[0]}{hours + minutes // 60:02d}:{minutes % 60:02d}"
