"""Nothing that is secret survives `redact`."""

from __future__ import annotations

import base64
import json
import time

import pytest

from harness.base.redact import MASK, Secret, StreamRedactor, redact, register


def test_a_secret_is_usable_but_its_repr_is_masked() -> None:
    secret = Secret("correct-horse-battery")
    assert secret == "correct-horse-battery"
    assert "horse" not in repr(secret)
    assert "horse" not in repr({"password": secret})


def test_registered_values_and_their_base64_are_masked() -> None:
    register("wrong-donkey-accumulator")
    encoded = base64.b64encode(b"wrong-donkey-accumulator").decode()
    assert redact(f"a wrong-donkey-accumulator and {encoded}") == f"a {MASK} and {MASK}"


def test_a_longer_secret_is_masked_whole_when_a_shorter_one_is_part_of_it() -> None:
    register("prefix-value")
    register("prefix-value-and-more")
    assert redact("prefix-value-and-more") == MASK


def test_short_values_are_not_registered() -> None:
    register("of")
    assert redact("one of two") == "one of two"


@pytest.mark.parametrize(
    "token",
    [
        "hvs." + "CAESIJlWh0" * 4,
        "hvb." + "AAAAAQKr0b" * 4,
        "s." + "A1b2C3d4E5f6G7h8I9j0K1l2",
        "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsidmF1bHQiXX0.c2lnbmF0dXJlLWJ5dGVz",
        "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----",
    ],
)
def test_whatever_looks_like_a_token_or_a_key_is_masked(token: str) -> None:
    assert redact(f"before {token} after") == f"before {MASK} after"


KEY_LINES = [
    "-----BEGIN RSA PRIVATE KEY-----",
    *(f"MIIEowIBAAKCAQEA{number:048d}" for number in range(25)),
    "c2hvcnQ=",
    "-----END RSA PRIVATE KEY-----",
]
KEY = "\n".join(KEY_LINES)


def test_a_registered_secret_of_several_lines_is_masked_line_by_line() -> None:
    register("first line of it\nsecond line of it\nok\n")
    assert redact("log: second line of it") == f"log: {MASK}"
    assert redact("all is ok") == "all is ok"


def test_a_registered_secret_is_masked_as_json_and_base64_write_it() -> None:
    value = 'a "quoted" secret\nwith a second line that is longer than base64 has in one of its own'
    register(value)
    assert redact(json.dumps({"v": value})) == json.dumps({"v": "X"}).replace("X", MASK)
    for line in base64.encodebytes(value.encode()).decode().splitlines():
        assert redact(f"  {line}") == f"  {MASK}"


@pytest.mark.parametrize("cut", [KEY_LINES[:-1], KEY_LINES[:3], KEY_LINES[5:], KEY_LINES[20:]])
def test_of_a_key_that_is_cut_off_nothing_is_shown(cut: list[str]) -> None:
    shown = redact("\n".join(["before", *cut]))
    assert shown.startswith("before\n")
    assert "MIIE" not in shown


def test_the_word_alone_is_no_key() -> None:
    told = "a key begins with -----BEGIN RSA PRIVATE KEY----- and goes on"
    assert redact(told) == told


def test_a_key_that_comes_line_by_line_is_masked_and_what_follows_is_not() -> None:
    stream = StreamRedactor()
    lines = ["before", *KEY_LINES, "after"]
    shown = [stream.feed(f"{line}\n") for line in lines]
    assert shown == ["before\n", *[f"{MASK}\n"] * len(KEY_LINES), "after\n"]


@pytest.mark.parametrize("lines", [1, 3, 10, 100])
def test_a_piece_may_hold_several_lines_and_keys(lines: int) -> None:
    stream = StreamRedactor()
    text = f"before {KEY} between {KEY}\nafter\n".splitlines(keepends=True)
    pieces = ["".join(text[at : at + lines]) for at in range(0, len(text), lines)]
    shown = "".join(map(stream.feed, pieces))
    assert shown.startswith(f"before {MASK}")
    assert " between " in shown
    assert shown.endswith(f"{MASK}\nafter\n")
    assert "MIIE" not in shown


def test_a_beginning_without_an_end_does_not_mask_for_ever() -> None:
    stream = StreamRedactor()
    stream.feed("-----BEGIN PRIVATE KEY-----\n")
    shown = [stream.feed(f"a word, number {number}\n") for number in range(300)]
    assert shown[0] == f"{MASK}\n"
    assert shown[-1] == "a word, number 299\n"


def test_a_picture_in_base64_takes_no_time_to_look_through() -> None:
    # Twenty thousand characters took twenty seconds: each was tried as a key's first.
    started = time.monotonic()
    assert redact("A" * 100_000) == "A" * 100_000
    assert time.monotonic() - started < 5
