"""Mount requests: every parameter, and each reason to refuse one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from standins.common.connection import Connection
from standins.csi_provider.api import MountRequest
from standins.csi_provider.errors import ConfigError
from standins.csi_provider.parameters import Pod, parse_bool, parse_request

OBJECTS = "- {objectName: a, secretPath: secret/data/a}"
FULL = {
    "roleName": "app",
    "vaultAddress": "https://vault:8200",
    "vaultAuthMountPath": "k8s",
    "vaultNamespace": "team",
    "audience": "bank",
    "vaultSkipTLSVerify": "true",
    "vaultCACertPath": "/ca.crt",
    "vaultCADirectory": "/cas",
    "vaultTLSServerName": "vault.internal",
    "vaultTLSClientCertPath": "/tls.crt",
    "vaultTLSClientKeyPath": "/tls.key",
    "objects": OBJECTS,
    "csi.storage.k8s.io/pod.name": "web",
    "csi.storage.k8s.io/pod.uid": "1-2",
    "csi.storage.k8s.io/pod.namespace": "demo",
    "csi.storage.k8s.io/serviceAccount.name": "sa",
    "csi.storage.k8s.io/serviceAccount.tokens": '{"bank":{"token":"jwt","expirationTimestamp":""}}',
    "csi.storage.k8s.io/ephemeral": "true",
    "secretProviderClass": "c",
}


def request(attributes: object = None, *, without: str = "", **changed: str) -> MountRequest:
    """A good request, but for what a test changes."""
    given = {**FULL, **changed} if attributes is None else attributes
    if isinstance(given, dict):
        given = {key: value for key, value in given.items() if key != without}
    return MountRequest(json.dumps(given), "null", "/target", "420")


def test_every_parameter_is_read() -> None:
    found = parse_request(request())
    assert found.login.role == "app"
    assert found.login.mount == "k8s"
    assert found.login.audience == "bank"
    assert found.login.pod == Pod("web", "1-2", "demo", "sa")
    assert found.login.connection == Connection(
        address="https://vault:8200",
        namespace="team",
        ca_file="/ca.crt",
        ca_folder="/cas",
        server_name="vault.internal",
        client_cert="/tls.crt",
        client_key="/tls.key",
        skip_verify=True,
    )
    assert [entry.name for entry in found.objects] == ["a"]
    assert (found.target, found.mode, found.pod_token) == ("/target", 0o644, "jwt")


def test_only_role_and_objects_are_needed() -> None:
    found = parse_request(request({"roleName": "app", "objects": OBJECTS}))
    assert found.login.mount == ""
    assert found.login.connection == Connection()
    assert found.pod_token == ""


def test_the_old_name_of_the_auth_mount() -> None:
    found = parse_request(request(without="vaultAuthMountPath", vaultKubernetesMountPath="old"))
    assert found.login.mount == "old"


@pytest.mark.parametrize(
    ("audience", "tokens", "token"),
    [
        ("", {"vault": {"token": "v"}, "": {"token": "e"}}, "v"),
        ("bank", {"vault": {"token": "v"}, "bank": {"token": "b"}}, "b"),
        ("bank", {"vault": {"token": "v"}}, ""),
        ("", {"": {"token": "e"}}, ""),
        ("", {}, ""),
    ],
)
def test_the_token_is_the_one_for_the_audience(
    audience: str, tokens: dict[str, Any], token: str
) -> None:
    key = "csi.storage.k8s.io/serviceAccount.tokens"
    found = parse_request(request({**FULL, "audience": audience, key: json.dumps(tokens)}))
    assert found.pod_token == token


def test_what_a_vault_token_hangs_on_is_the_cache_key() -> None:
    base = parse_request(request()).login
    assert parse_request(request(objects=OBJECTS + "\n- {objectName: b}")).login == base
    other = {"csi.storage.k8s.io/serviceAccount.tokens": '{"bank":{"token":"new"}}'}
    assert parse_request(request({**FULL, **other})).login == base
    for name in set(FULL) - {"objects", "csi.storage.k8s.io/serviceAccount.tokens"}:
        if name in ("csi.storage.k8s.io/ephemeral", "secretProviderClass"):
            continue
        changed = "false" if name == "vaultSkipTLSVerify" else "changed"
        assert parse_request(request({**FULL, name: changed})).login != base, name
    assert hash(base) == hash(replace(base))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"roleName": ""}, "missing 'roleName' in SecretProviderClass definition"),
        (
            {"objects": ""},
            "no secrets configured - the provider will not read any secret material",
        ),
        (
            {"vaultKubernetesMountPath": "x"},
            "cannot set both vaultKubernetesMountPath and vaultAuthMountPath",
        ),
        (
            {"vaultKubernetesMountPath": ""},
            "cannot set both vaultKubernetesMountPath and vaultAuthMountPath",
        ),
        ({"vaultSkipTLSVerify": "yes"}, 'strconv.ParseBool: parsing "yes": invalid syntax'),
        ({"vaultSkipTLSVerify": ""}, 'strconv.ParseBool: parsing "": invalid syntax'),
        ({"objects": "- {objectName: ../x}"}, "objectName '../x' cannot be a file in the mount"),
        ({"objects": OBJECTS + "\n" + OBJECTS}, "the following keys were duplicated: a"),
    ],
)
def test_a_wrong_parameter_is_refused(change: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_request(request(**change))
    assert reason in str(caught.value)


@pytest.mark.parametrize("missing", ["roleName", "objects"])
def test_a_missing_parameter_is_refused(missing: str) -> None:
    with pytest.raises(ConfigError):
        parse_request(request(without=missing))


def test_a_missing_target_path_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^missing target path field$"):
        parse_request(replace(request(), target_path=""))


@pytest.mark.parametrize(
    "permission", ["", "x", "true", '"420"', "4.2", "420.0", "-1", "512", "9" * 5000]
)
def test_a_wrong_permission_is_refused(permission: str) -> None:
    with pytest.raises(ConfigError, match=r"^permission: "):
        parse_request(replace(request(), permission=permission))


@pytest.mark.parametrize(
    "attributes", ["", "{", "[]", "5", '{"roleName": 1}', '{"x": NaN}', "[" * 100_000]
)
def test_wrong_attributes_are_refused(attributes: str) -> None:
    with pytest.raises(ConfigError, match=r"^attributes: "):
        parse_request(replace(request(), attributes=attributes))


@pytest.mark.parametrize(
    "tokens", ["canary", '["canary"]', '{"bank":"canary"}', '{"bank":{"token":["canary"]}}']
)
def test_wrong_tokens_are_refused_and_not_quoted(tokens: str) -> None:
    changed = {**FULL, "csi.storage.k8s.io/serviceAccount.tokens": tokens}
    with pytest.raises(ConfigError, match=r"^failed to unmarshal service account tokens") as caught:
        parse_request(request(changed))
    assert "canary" not in str(caught.value)


def test_a_token_is_not_in_the_repr_of_a_request() -> None:
    tokens = '{"bank":{"token":"canary"}}'
    changed = {**FULL, "csi.storage.k8s.io/serviceAccount.tokens": tokens}
    assert "canary" not in repr(parse_request(request(changed)))


@pytest.mark.parametrize("word", ["1", "t", "T", "true", "TRUE", "True"])
def test_words_for_true(word: str) -> None:
    assert parse_bool(word)


@pytest.mark.parametrize("word", ["0", "f", "F", "false", "FALSE", "False"])
def test_words_for_false(word: str) -> None:
    assert not parse_bool(word)
