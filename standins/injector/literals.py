"""JSON whose texts and numbers keep the literal that they were written as.

A JSON Patch's `test` compares literals in the library that upstream uses, so 1 is not 1.0
and "<" is not "\\u003c". Python's decoder gives values; this one gives `Literal`s.
"""

from __future__ import annotations

import json
from json import decoder, scanner
from typing import Any

from standins.common import gojson


class Literal(str):
    """A JSON text, number, true or false as it was written, quotes and escapes included."""

    __slots__ = ()

    @property
    def is_text(self) -> bool:
        """Whether it is a JSON text."""
        return self.startswith('"')

    @property
    def text(self) -> str:
        """The value of a JSON text."""
        return str(gojson.loads(self))


class _Decoder(json.JSONDecoder):
    def __init__(self) -> None:
        super().__init__(parse_int=Literal, parse_float=Literal)
        # Only the decoder that is written in Python asks `parse_string` for texts.
        self.parse_string = _text
        make = scanner.py_make_scanner  # type: ignore[attr-defined]  # not in its stubs
        self.scan_once = make(self)


def _text(source: str, start: int, strict: bool) -> tuple[Literal, int]:
    end = decoder.scanstring(source, start, strict)[1]  # type: ignore[attr-defined]  # not in its stubs
    return Literal(source[start - 1 : end]), end


def loads(text: str) -> Any:
    """The value of a JSON text: dicts, lists, None and Literals.

    Raises ValueError and RecursionError.
    """
    # The decoder in C is the strict one: the other takes digits and escapes that JSON lacks.
    gojson.loads(text)
    return _literals(_Decoder().decode(text))


def _literals(value: Any) -> Any:
    if isinstance(value, bool):
        return Literal("true" if value else "false")
    if isinstance(value, list):
        return [_literals(item) for item in value]
    if isinstance(value, dict):
        return {gojson.paired(key): _literals(item) for key, item in value.items()}
    return value


def of(value: Any) -> Any:
    """What `loads` would give for the JSON text that Go makes of a plain value."""
    return loads(gojson.dumps(value))


def dumps(value: Any) -> str:
    """The JSON text of a value that `loads` gave: literals as they are, names sorted as by Go."""
    if value is None:
        return "null"
    if isinstance(value, Literal):
        return value
    if isinstance(value, dict):
        return (
            "{"
            + ",".join(f"{gojson.dumps(key)}:{dumps(item)}" for key, item in sorted(value.items()))
            + "}"
        )
    return "[" + ",".join(dumps(item) for item in value) + "]"
