"""The `objects` parameter: every field, YAML's corners, and names that must not pass."""

from __future__ import annotations

from typing import Any

import pytest

from standins.csi_provider.errors import ConfigError
from standins.csi_provider.objects import SecretObject, check_objects, parse_objects


def test_every_field_is_read() -> None:
    text = """
- objectName: tls/cert.pem
  secretPath: pki/issue/web?x=1
  secretKey: certificate
  method: PUT
  secretArgs: {common_name: web.example, ttl: 24h}
  encoding: base64
  filePermission: 0400
"""
    assert parse_objects(text) == (
        SecretObject(
            name="tls/cert.pem",
            path="pki/issue/web?x=1",
            key="certificate",
            method="PUT",
            args={"common_name": "web.example", "ttl": "24h"},
            encoding="base64",
            mode=0o400,
        ),
    )


def test_fields_that_are_not_given_are_empty() -> None:
    assert parse_objects("- {objectName: x, unknownField: 1}\n-\n- {secretKey: null}") == (
        SecretObject(name="x"),
        SecretObject(),
        SecretObject(),
    )


@pytest.mark.parametrize("text", ["", "[]", "null", "# nothing"])
def test_no_objects_at_all(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^no secrets configured - the provider will not read"):
        check_objects(parse_objects(text))


@pytest.mark.parametrize("written", ["007", "1.10", "yes", "12:30", "2030-01-01", "'text'"])
def test_text_fields_are_what_is_written(written: str) -> None:
    (entry,) = parse_objects(f"- {{secretKey: {written}}}")
    assert entry.key == written.strip("'")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("24h", "24h"),
        ("5", 5),
        ("-5", -5),
        ("010", 8),
        ("0o10", 8),
        ("0x1f", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("yes", "yes"),
        ("off", "off"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2030-01-01", "2030-01-01"),
        ("~", None),
        ("''", ""),
        ("[a, 1]", ["a", 1]),
        ("{b: {c: 1}}", {"b": {"c": 1}}),
    ],
)
def test_arguments_are_typed_as_the_real_provider_types_them(written: str, value: Any) -> None:
    (entry,) = parse_objects(f"- secretArgs:\n    key: {written}")
    assert entry.args == {"key": value}
    assert type(entry.args["key"]) is type(value)


@pytest.mark.parametrize(
    ("written", "mode"),
    [("0644", 0o644), ("0o640", 0o640), ("420", 0o644), ("0", 0), ("0777", 0o777)],
)
def test_file_permissions_are_octal_with_a_leading_zero(written: str, mode: int) -> None:
    assert parse_objects(f"- {{filePermission: {written}}}")[0].mode == mode


@pytest.mark.parametrize("written", ["644", "01000", "-1", "'0644'", "rw-r--r--", "0.5", "[0644]"])
def test_what_is_no_file_mode_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match=r"^objects\[0\].filePermission: .*0644"):
        parse_objects(f"- {{filePermission: {written}}}")


@pytest.mark.parametrize(
    "text",
    [
        "a: b",
        "text",
        "- text",
        "- [",
        "- {objectName: [a]}",
        "- {secretArgs: [a]}",
        "- {objectName: a, objectName: b}",
        "- &x {objectName: a}\n- *x",
        "- {secretArgs: {a: !!python/object/apply:os.system [x]}}",
        "- {secretArgs: {a: !!timestamp 2030-01-01}}",
        '- {secretPath: "\\ud800"}',
        '- {secretArgs: {a: "\\ud800"}}',
        "- \0",
        "---\n- {}\n---\n- {}",
        "[" * 60,
        "- {" + "a: {" * 10_000,
        "#" * (128 * 1024 + 1),
        "- {? [a] : b}\n- {secretArgs: {? [a] : b}}",
    ],
)
def test_bad_yaml_is_one_clear_refusal(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^objects") as caught:
        check_objects(parse_objects(text))
    assert "\n" not in str(caught.value)


def test_a_refusal_does_not_quote_arguments() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_objects("- {objectName: a, secretArgs: {password: canary, broken")
    assert "canary" not in str(caught.value)
    assert "canary" not in repr(SecretObject(name="a", args={"password": "canary"}))


def test_repeated_names_are_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        check_objects([SecretObject(name=name) for name in "abacbb"])
    assert str(caught.value) == (
        "each `objectName` within a SecretProviderClass must be unique, "
        "but the following keys were duplicated: a, b, b"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "it is empty"),
        ("/etc/passwd", "it is absolute"),
        ("..", "contains '..'"),
        ("../x", "contains '..'"),
        ("a/../../x", "contains '..'"),
        ("a/..", "contains '..'"),
        ("..data", "atomic writer"),
        ("..data/x", "atomic writer"),
        (".", "not a clean"),
        ("./a", "not a clean"),
        ("a//b", "not a clean"),
        ("a/", "not a clean"),
        ("a/./b", "not a clean"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a" * 256, "longer"),
        ("ä" * 128, "longer"),
        ("a/" * 2100 + "a", "longer"),
    ],
)
def test_hostile_names_are_refused(name: str, why: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a file in the mount") as caught:
        check_objects([SecretObject(name="fine"), SecretObject(name=name)])
    assert why in str(caught.value)


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("x/y", "x/y/z")])
def test_a_name_cannot_be_file_and_folder(names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="needs a folder of that name"):
        check_objects([SecretObject(name=name) for name in names])


@pytest.mark.parametrize(
    "name", ["a", ".hidden", "a..b", "a/..b/c", "a b", "grüße", "a/b/c", "a:b"]
)
def test_ordinary_names_pass(name: str) -> None:
    check_objects([SecretObject(name=name)])
