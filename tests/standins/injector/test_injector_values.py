"""Parsing of values, JSON Patch and settings, where Go's rules are the interface."""

from __future__ import annotations

from typing import Any

import pytest

from standins.common import values
from standins.injector import jsonpatch
from standins.injector.settings import SettingError, Settings, read

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


@pytest.mark.parametrize(("text", "number"), [("0.9", 0.9), (".5", 0.5), ("1e-1", 0.1)])
def test_float(text: str, number: float) -> None:
    assert values.parse_float(text) == number


@pytest.mark.parametrize("text", ["", "NaN", "inf", "1e999", "0,5", "1_0"])
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
    "text", ["", "lots", "1 Gi", "1..2", ".", "-", "5kk", "5KiMi", "5mi", "1e"]
)
def test_not_a_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="quantit"):
        values.check_quantity(text)


DOCUMENT = {"a": {"b": [1, 2, 3]}, "": 0, "x/y": 1, "m~n": 2}


@pytest.mark.parametrize(
    ("operation", "path", "expected"),
    [
        ({"op": "add", "path": "/a/b/1", "value": 9}, ("a", "b"), [1, 9, 2, 3]),
        ({"op": "add", "path": "/a/b/3", "value": 9}, ("a", "b"), [1, 2, 3, 9]),
        ({"op": "add", "path": "/a/b/-", "value": 9}, ("a", "b"), [1, 2, 3, 9]),
        ({"op": "add", "path": "/a/c", "value": None}, ("a", "c"), None),
        ({"op": "remove", "path": "/a/b/0"}, ("a", "b"), [2, 3]),
        ({"op": "replace", "path": "/a/b/2", "value": 9}, ("a", "b"), [1, 2, 9]),
        ({"op": "replace", "path": "/x~1y", "value": 5}, ("x/y",), 5),
        ({"op": "replace", "path": "/m~0n", "value": 5}, ("m~n",), 5),
        ({"op": "replace", "path": "/", "value": 5}, ("",), 5),
        ({"op": "move", "from": "/a/b/0", "path": "/a/b/2"}, ("a", "b"), [2, 3, 1]),
        ({"op": "copy", "from": "/a/b", "path": "/c"}, ("c",), [1, 2, 3]),
        ({"op": "test", "path": "/a/b/0", "value": 1}, ("a", "b", 0), 1),
    ],
)
def test_patch(operation: dict[str, Any], path: tuple[str | int, ...], expected: Any) -> None:
    found: Any = jsonpatch.apply(DOCUMENT, [operation])
    for part in path:
        found = found[part]
    assert found == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/no/where", "value": 1},
        {"op": "add", "path": "/a/b/4", "value": 1},
        {"op": "add", "path": "/a/b/-1", "value": 1},
        {"op": "add", "path": "/a/b/01", "value": 1},
        {"op": "add", "path": "/a/b/0/x", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "remove", "path": "/nothing"},
        {"op": "remove", "path": "/a/b/-"},
        {"op": "replace", "path": "/nothing", "value": 1},
        {"op": "move", "from": "/a", "path": "/a/b"},
        {"op": "test", "path": "/a/b/0", "value": True},
    ],
)
def test_patch_that_does_not_fit(operation: dict[str, Any]) -> None:
    with pytest.raises(jsonpatch.PatchError):
        jsonpatch.apply(DOCUMENT, [operation])


def test_patch_cannot_grow_without_bound() -> None:
    double = [{"op": "copy", "from": "", "path": f"/{n}"} for n in range(60)]
    with pytest.raises(jsonpatch.PatchError, match="larger than"):
        jsonpatch.apply({"a": "x" * 1000}, double)
    with pytest.raises(jsonpatch.PatchError, match="more than"):
        jsonpatch.decode("[" + ",".join(['{"op":"remove","path":"/a"}'] * 500) + "]")


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '[{"op":"add","path":"/a"}]', '[{"op":"add","value":1}]', "[" * 100_000,
     '[{"op":["add"],"path":"/a"}]', '[{"op":"remove","path":5}]', '[{"op":"copy","path":"/a"}]'],
)  # fmt: skip
def test_not_a_patch(text: str) -> None:
    with pytest.raises(jsonpatch.PatchError):
        jsonpatch.decode(text)


def test_null_is_a_patch_that_does_nothing() -> None:
    assert jsonpatch.decode("null") == []


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
    with pytest.raises(SettingError, match=f"AGENT_INJECT_{variable}"):
        read([], ADDRESS | {f"AGENT_INJECT_{variable}": value})
