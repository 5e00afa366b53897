"""The `objects` parameter: every field, YAML's corners, and names that must not pass."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from standins.common import gojson
from standins.csi_provider.errors import ConfigError
from standins.csi_provider.objects import SecretObject, check_objects, parse_objects
from standins.csi_provider.versions import object_version
from tests.standins.csi_provider.world import KEY

GOLDEN = json.loads(Path(__file__).with_name("go_objects.json").read_text())


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
    assert parse_objects("- {objectName: x, unknownField: 1}\n- {secretKey: null}") == (
        SecretObject(name="x"),
        SecretObject(),
    )


def test_entries_that_are_null_are_left_out() -> None:
    assert parse_objects("-\n- {objectName: x}\n- ~") == (SecretObject(name="x"),)


def objects_as_go_has_them(text: str) -> list[list[Any]] | None:
    """Mode, arguments and object version of each entry; None where the text is refused."""
    try:
        entries = parse_objects(text)
    except ConfigError:
        return None
    return [
        [
            entry.mode,
            None if entry.args is None else gojson.dumps(entry.args),
            object_version(entry, KEY, b"content"),
        ]
        for entry in entries
    ]


def test_yaml_is_read_as_by_the_library_of_upstream() -> None:
    found = {text: objects_as_go_has_them(text) for text, _ in GOLDEN["objects"]}
    assert found == dict(GOLDEN["objects"])
    refused = [text for text, wanted in GOLDEN["objects"] if wanted is None]
    assert len(refused) > 300
    assert len(GOLDEN["objects"]) - len(refused) > 600


@pytest.mark.parametrize("text", GOLDEN["stricter"])
def test_refused_here_alone(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_objects(text)


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
        ("1_000", 1000),
        ("0b101", 5),
        ("08", 8.0),
        (".5", 0.5),
        ("2030-01-01", "2030-01-01T00:00:00Z"),
        ("2030-01-01T10:20:30.50+02:00", "2030-01-01T10:20:30.5+02:00"),
        ("!!binary AAEC", "\x00\x01\x02"),
        ("!!str 5", "5"),
        ("!!python/name:os.system x", "x"),
        ("~", None),
        ("''", ""),
        ("[a, 1]", ["a", 1]),
        ("{b: {c: 1}}", {"b": {"c": 1}}),
    ],
)
def test_arguments_are_typed_as_the_real_provider_types_them(written: str, value: Any) -> None:
    (entry,) = parse_objects(f"- secretArgs:\n    key: {written}")
    assert entry.args == {"key": value}
    assert isinstance(entry.args["key"], type(value))


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
        "- {objectName: *unknown}",
        "- {secretArgs: &x {a: *x}}",
        "- {secretArgs: {a: !!timestamp tomorrow}}",
        "- {secretArgs: {a: .nan}}",
        "- {secretArgs: {a: 1, a: 2}}",
        "- {secretArgs: {a: {1: 2}}}",
        "- {secretPath: kv/data/x?version=1}",
        "%YAML 1.2\n---\n- {}",
        '- {secretPath: "\\ud800"}',
        '- {secretArgs: {a: "\\ud800"}}',
        "- \0",
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


def test_only_the_first_document_counts() -> None:
    assert parse_objects("---\n- {objectName: x}\n---\n[ broken") == (SecretObject(name="x"),)


def test_merge_keys_and_aliases() -> None:
    text = """
- &one {objectName: a, secretPath: p, secretArgs: &args {x: 1, y: 2}}
- {<<: *one, objectName: b, secretArgs: {<<: *args, y: 3}}
"""
    one, two = parse_objects(text)
    assert (two.name, two.path, two.args) == ("b", "p", {"x": 1, "y": 3})
    assert one.args == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    "bomb",
    [
        "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]\n" for n in range(9)),
        "- secretArgs: {a: &a " + "x" * 60_000 + ", b: [" + "*a, " * 40 + "]}",
        "- secretArgs: {" + ", ".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 99)) + "}",
        "- secretArgs: {a0: &a0 x, "
        + ", ".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 99))
        + "}",
    ],
    ids=["width", "length", "unknown", "depth"],
)
def test_aliases_cannot_stand_for_much(bomb: str) -> None:
    started = time.process_time()
    with pytest.raises(ConfigError, match=r"^objects"):
        parse_objects(bomb)
    assert time.process_time() - started < 5


def test_longest_text_is_read_quickly() -> None:
    entry = "- {objectName: a, secretArgs: {k: [1,2,3,4,5,6,7,8,9]}}\n"
    started = time.process_time()
    assert len(parse_objects(entry * (128 * 1024 // len(entry)))) > 2000
    assert time.process_time() - started < 5


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
