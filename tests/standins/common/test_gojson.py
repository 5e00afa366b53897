"""JSON and base64 by Go's rules; the values come from Go 1.26 itself."""

from __future__ import annotations

import math
from typing import Any

import pytest

from standins.common import gobase64, gojson


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.2345678901234567e17, "123456789012345660"),
        (1e16, "10000000000000000"),
        (2.0**63, "9223372036854776000"),
        (1e20, "100000000000000000000"),
        (9.99e20, "999000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.000001, "0.000001"),
        (1.1e-5, "0.000011"),
        (1.2345678901234567e-05, "0.000012345678901234568"),
        (9.999999e-7, "9.999999e-7"),
        (1e-10, "1e-10"),
        (5e-324, "5e-324"),
        (-0.0, "-0"),
        (2.5, "2.5"),
        (3.0, "3"),
    ],
)
def test_floats_are_written_as_go_writes_them(number: float, text: str) -> None:
    assert gojson.format_float(number) == text
    assert float(text) == number


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_lacks_is_never_written(number: float) -> None:
    for write in (gojson.format_float, gojson.dumps, gojson.text_of):
        with pytest.raises(ValueError, match=r"(?i)nan|inf|json"):
            write(number)
    with pytest.raises(ValueError, match=r"(?i)nan|inf|json"):
        gojson.text_of({"a": [number]})


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '{"a": [NaN]}'])
def test_what_json_lacks_is_never_read(text: str) -> None:
    for read in (gojson.loads, gojson.parse):
        with pytest.raises(ValueError, match="is not JSON"):
            read(text)


def test_a_number_that_no_float_holds() -> None:
    assert gojson.loads("1e999") == gojson.Number("1e999")
    with pytest.raises(ValueError, match="out of range"):
        gojson.parse("[1e999]")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud800"', "\ufffd"),
        ('"\\uDC00x"', "\ufffdx"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('{"\\ud800": ["\\udfff"]}', {"\ufffd": ["\ufffd"]}),
        (b'"\xff\xc3\xa9\xe2\x82"', "\ufffd\u00e9\ufffd\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
    ],
)
def test_what_is_no_unicode_is_replaced(text: str | bytes, value: Any) -> None:
    assert gojson.loads(text) == value


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf{}", "{}".encode("utf-16"), "\ufeff{}"])
def test_only_utf_8_is_read(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="line 1"):
        gojson.loads(text)


def test_texts_are_escaped_as_go_escapes_them() -> None:
    assert gojson.dumps("<&>\u2028\x7f\x01\b\f/é") == (
        '"\\u003c\\u0026\\u003e\\u2028\x7f\\u0001\\b\\f/é"'
    )
    assert gojson.dumps("<&>\u2029", escape=False) == '"<&>\\u2029"'
    # Bytes that were no UTF-8, as the codecs keep them.
    assert gojson.dumps(b"\xffa".decode("utf-8", "surrogateescape")) == '"\\ufffda"'


def test_structures_keep_their_order_and_maps_are_sorted() -> None:
    inside = {"b": 1, "a": gojson.Structure(d=1, c=2)}
    assert gojson.dumps(gojson.Structure(z=inside, y=[])) == (
        '{"z":{"a":{"d":1,"c":2},"b":1},"y":[]}'
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", b""),
        ("\r\n", b""),
        ("aGk=", b"hi"),
        ("aG\r\nk=\n", b"hi"),
        ("aGk\n=", b"hi"),
        ("QR==", b"A"),
        (b"/+8=", b"\xff\xef"),
    ],
)
def test_base64_skips_line_ends(text: str | bytes, value: bytes) -> None:
    assert gobase64.decode(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "aGk",
        "aGk==",
        "aGk===",
        "a Gk=",
        "aGk=\t",
        "_-8=",
        "====",
        "Q===",
        "QQ==QQ==",
        "QQ=",
        "é===",
    ],
)
def test_base64_is_strict_about_all_else(text: str) -> None:
    with pytest.raises(ValueError, match=r"^illegal base64 data$"):
        gobase64.decode(text)
