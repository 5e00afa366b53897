"""Nothing that is secret survives `redact`."""

from __future__ import annotations

import base64

import pytest

from harness.base.redact import MASK, Secret, redact, register


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
