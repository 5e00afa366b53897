"""Why a policy does not allow a path: read from its text, in words."""

from __future__ import annotations

import pytest

from harness.diagnosis.policy import covers, parse_policy, why_not_allowed

PATH = "lab01-kv/data/app"
MOUNTS = ["lab01-kv/", "sys/"]


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("", "names no path at all"),
        ('path "lab01-kv/app" { capabilities = ["read"] }', "names lab01-kv/app, without data/"),
        ('path "lab01-kv/*" { capabilities = ["list"] }', "but allows list there, not read"),
        (
            'path "lab01-kv/data/app" { capabilities = ["deny"] }',
            "names lab01-kv/data/app with deny",
        ),
        ('path "lab01-kv/metadata/app" { capabilities = ["read"] }', "shows names and versions"),
        ('path "lab01-vk/data/app" { capabilities = ["read"] }', "wrong mount"),
        ('path "/v1/lab01-kv/data/app" { capabilities = ["read"] }', "without /v1/"),
        ('path "lab01-kv/data/ap" { capabilities = ["read"] }', "names only lab01-kv/data/ap"),
        ('path "lab01-kv/data/app/*" { capabilities = ["read"] }', "names only lab01-kv/data/app/"),
        ('# path "lab01-kv/data/app" { }', "names no path at all"),
    ],
)
def test_the_mistake_is_named(policy: str, says: str) -> None:
    finding = why_not_allowed(PATH, "read", parse_policy(policy), ["lab01-app"], MOUNTS)
    assert (finding.link, finding.ok) == ("policy path", False)
    assert says in finding.evidence
    assert finding.hint == 'path "lab01-kv/data/app" { capabilities = ["read"] }'


def test_a_path_that_fits_but_allows_too_little_is_named_before_others() -> None:
    paths = {"lab01-kv/app": ["read"], "lab01-kv/data/+": ["list"]}
    finding = why_not_allowed(PATH, "read", paths, ["lab01-app"], MOUNTS)
    assert "lab01-kv/data/+, but allows list" in finding.evidence


def test_both_languages_are_read() -> None:
    hcl = (
        'path "a/b" {\n  capabilities = ["read", "list"] # both\n}\npath "c" { capabilities = [] }'
    )
    json = '{"path": {"a/b": {"capabilities": ["read", "list"]}, "c": {}}}'
    assert parse_policy(hcl) == parse_policy(json) == {"a/b": ["read", "list"], "c": []}


@pytest.mark.parametrize(
    ("pattern", "path", "yes"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/*", "a/b/c", True),
        ("a*", "ab", True),
        ("+/b", "a/b", True),
        ("+/b", "a/c/b", False),
        ("a/+/*", "a/b/c/d", True),
        ("a.c", "abc", False),
    ],
)
def test_patterns(pattern: str, path: str, yes: bool) -> None:
    assert covers(pattern, path) is yes
