"""Parsing of values and settings, where Go's rules are the interface."""

from __future__ import annotations

import math

import pytest

from standins.common import values
from standins.common.flags import BadFlag
from standins.injector.settings import Settings, read

ADDRESS = {"AGENT_INJECT_VAULT_ADDR": "https://v:8200"}


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true(text: str) -> None:
    assert values.parse_bool(text) is True


@pytest.mark.parametrize("text", ["", "0", "f", "F", "FALSE", "false", "False"])
def test_false(text: str) -> None:
    assert values.parse_bool(text) is False


@pytest.mark.parametrize("text", ["yes", "on", "tRUE", " true", "2", "ｔ", "y" * 100_000])
def test_not_a_bool(text: str) -> None:
    with pytest.raises(ValueError, match="is not a bool") as caught:
        values.parse_bool(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "number"),
    [("", 0), ("0", 0), ("-7", -7), ("+7", 7), ("007", 7), (str(2**63 - 1), 2**63 - 1)],
)
def test_int(text: str, number: int) -> None:
    assert values.parse_int(text) == number


@pytest.mark.parametrize("text", ["1_000", " 1", "1.0", "0x1", "٣", str(2**63), "9" * 5000])
def test_not_an_int(text: str) -> None:
    with pytest.raises(ValueError, match="integer"):
        values.parse_int(text)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1s", str(2**64), "9" * 5000])
def test_not_a_uint(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        values.parse_uint(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.9", 0.9),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-1", 0.1),
        ("1_0", 10.0),
        ("0.7_5", 0.75),
        ("0x1p-2", 0.25),
        ("0X_1P+3", 8.0),
        ("1e-400", 0.0),
        ("-Inf", float("-inf")),
        ("+infinity", float("inf")),
    ],
)
def test_float(text: str, number: float) -> None:
    assert values.parse_float(text) == number


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(values.parse_float("NaN"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+NaN",
        "infinit",
        "1e999",
        "0x1p99999",
        "0,5",
        "1_",
        "_1",
        "1__0",
        "0x1",
        "1e",
        " 1",
        "٣",
    ],
)
def test_not_a_float(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        values.parse_float(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1s", 1),
        ("1m30s", 90),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("-2s", -2),
        ("3µs", 3e-6),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    assert values.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "5 s", "s", "1d", "1s1", "soon", "9999999h"])
def test_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        values.parse_duration(text)


@pytest.mark.parametrize(
    "text", ["1", "250m", "64Mi", "0.5", ".5", "1.", "1e3", "1E-3", "2E", "5n"]
)
def test_quantity(text: str) -> None:
    assert values.check_quantity(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "lots", "1 Gi", "1..2", ".", "-", "5kk", "5KiMi", "5mi", "1e", "1e" + "9" * 20, "m", "+"],
)
def test_not_a_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="quantit"):
        values.check_quantity(text)


def test_defaults_are_upstreams() -> None:
    settings = read([], ADDRESS)
    assert settings == Settings(vault_addr="https://v:8200")
    assert (settings.listen, settings.vault_image) == (":8080", "hashicorp/vault:2.0.4")


def test_variables_win_over_flags() -> None:
    flags = ["-vault-address=https://flag", "--vault-image", "flag:1", "-revoke-on-shutdown"]
    settings = read(flags, {"AGENT_INJECT_VAULT_IMAGE": "env:1", "AGENT_INJECT_LOG_LEVEL": ""})
    assert settings.vault_addr == "https://flag"
    assert settings.vault_image == "env:1"
    assert settings.revoke_on_shutdown is True
    assert settings.log_level == "info"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VAULT_ADDR", ""),
        ("DEFAULT_TEMPLATE", "yaml"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("LISTEN", "8o8o"),
        ("LISTEN", ":70000"),
        ("TLS_MIN_VERSION", "ssl3"),
        ("USE_LEADER_ELECTOR", "yes"),
        ("AUTH_MIN_BACKOFF", "5"),
        ("TEMPLATE_MAX_CONNECTIONS_PER_HOST", "many"),
        ("TEMPLATE_LEASE_RENEWAL_THRESHOLD", "half"),
    ],
)
def test_wrong_setting_is_named(variable: str, value: str) -> None:
    with pytest.raises(BadFlag, match=f"AGENT_INJECT_{variable}"):
        read([], ADDRESS | {f"AGENT_INJECT_{variable}": value})
