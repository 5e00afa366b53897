"""The provider over its socket: what a mount gives, and every way it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from tests.standins.csi_provider.fakevault import FakeVault
from tests.standins.csi_provider.world import World, in_world

USER_AND_PASSWORD = """
- {objectName: user, secretPath: database/creds/ro, secretKey: username}
- {objectName: password, secretPath: database/creds/ro, secretKey: password}
"""


def test_version_is_what_the_health_check_expects(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        answer = await there.version()
        assert (answer.version, answer.runtime_name) == ("v1alpha1", "vault-csi-provider")
        major, minor, patch = answer.runtime_version.partition("+")[0].split(".")
        assert major.isdigit()
        assert minor.isdigit()
        assert patch.isdigit()

    in_world(tmp_path, scenario)


def test_a_key_of_kv_v2_becomes_a_file_with_a_version(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        answer = await there.send(there.request(tokens={"vault": "jwt-app"}))
        (file,), (version,) = answer.files, answer.object_version
        assert (file.path, file.mode, file.contents) == ("password", 0o644, b"canary-two")
        assert version.id == "password"
        assert len(version.version) == 44
        again = await there.send(there.request(tokens={"vault": "jwt-app"}))
        assert again == answer

    in_world(tmp_path, scenario)


def test_objects_of_one_path_and_method_share_one_read(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        files = await there.mount(USER_AND_PASSWORD)
        serial = files["user"].decode().removeprefix("v-")
        assert files["password"].decode() == f"pw-{serial}"
        assert there.vault.reads["GET database/creds/ro"] == 1
        # The next mount, a rotation for example, reads again: nothing outlives a request.
        assert (await there.mount(USER_AND_PASSWORD))["user"] != files["user"]

    in_world(tmp_path, scenario)


def test_another_method_or_query_is_another_read_but_other_arguments_are_not(
    tmp_path: Path,
) -> None:
    objects = """
- {objectName: now, secretPath: secret/data/app, secretKey: password}
- {objectName: before, secretPath: "secret/data/app?version=1", secretKey: password}
"""
    for name, method in (("a", "PUT"), ("b", "PUT"), ("c", "POST")):
        objects += f"- {{objectName: {name}, secretPath: pki/issue/web, method: {method}, "
        objects += f"secretArgs: {{common_name: {name}}}, secretKey: certificate}}\n"

    async def scenario(there: World) -> None:
        files = await there.mount(objects)
        assert (files["now"], files["before"]) == (b"canary-two", b"canary-one")
        # The second object has the first one's certificate; the third is another request.
        assert files["a"].endswith(b" a")
        assert files["b"] == files["a"]
        assert files["c"].endswith(b" c")
        assert there.vault.reads["PUT pki/issue/web"] == 1

    in_world(tmp_path, scenario)


@pytest.mark.parametrize("path", ["secret/data/app", "/secret/data/app", "v1/secret/data/app"])
def test_the_v1_prefix_is_optional(tmp_path: Path, path: str) -> None:
    async def scenario(there: World) -> None:
        await there.mount(f"- {{objectName: x, secretPath: {path}, secretKey: user}}")
        assert list(there.vault.reads) == ["GET secret/data/app"]

    in_world(tmp_path, scenario)


def test_without_a_key_the_whole_answer_is_written(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        files = await there.mount("- {objectName: all, secretPath: secret/data/app}")
        assert files["all"] == (
            b'{"request_id":"r-1","lease_id":"","lease_duration":0,"renewable":false,'
            b'"data":{"data":{"password":"canary-two","user":"ada"},'
            b'"metadata":{"created_time":"0","deletion_time":"","destroyed":false,"version":2}},'
            b'"warnings":null}'
        )

    in_world(tmp_path, scenario)


def test_modes_come_from_the_object_else_from_the_driver(tmp_path: Path) -> None:
    objects = """
- {objectName: own, secretPath: secret/data/app, secretKey: user, filePermission: 0624}
- {objectName: new, secretPath: secret/data/app, secretKey: user, filePermission: 0o400}
- {objectName: default, secretPath: secret/data/app, secretKey: user}
"""

    async def scenario(there: World) -> None:
        answer = await there.send(
            there.request(objects, tokens={"vault": "jwt-app"}, permission="384")
        )
        assert {file.path: file.mode for file in answer.files} == {
            "own": 0o624,
            "new": 0o400,
            "default": 0o600,
        }

    in_world(tmp_path, scenario)


def test_without_the_key_secret_the_mount_works_and_has_no_version(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.cluster.key = None
        answer = await there.send(there.request(tokens={"vault": "jwt-app"}))
        assert [version.version for version in answer.object_version] == [""]
        assert answer.files[0].contents == b"canary-two"

    in_world(tmp_path, scenario)


def test_kubelets_token_for_the_audience_is_used_and_none_is_made(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.mount(tokens={"vault": "jwt-app", "other": "jwt-other"})
        assert there.vault.logins == [{"mount": "kubernetes", "role": "app", "jwt": "jwt-app"}]
        assert there.cluster.made == []

    in_world(tmp_path, scenario)


@pytest.mark.parametrize(
    ("tokens", "audience"),
    [({}, ""), ({"other": "jwt-other"}, ""), ({"vault": "jwt-app"}, "bank")],
)
def test_without_a_fitting_token_one_is_made_for_the_pod(
    tmp_path: Path, tokens: dict[str, str], audience: str
) -> None:
    async def scenario(there: World) -> None:
        await there.mount(tokens=tokens, audience=audience)
        ((pod, asked),) = there.cluster.made
        assert (pod.name, pod.uid, pod.namespace, pod.account) == ("web", "uid-web", "demo", "app")
        assert asked == audience

    in_world(tmp_path, scenario)


def test_the_parameter_audience_picks_among_kubelets_tokens(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.mount(tokens={"vault": "jwt-wrong", "bank": "jwt-app"}, audience="bank")
        assert [login["jwt"] for login in there.vault.logins] == ["jwt-app"]

    in_world(tmp_path, scenario)


@pytest.mark.parametrize("parameter", ["vaultAuthMountPath", "vaultKubernetesMountPath"])
def test_both_names_of_the_auth_mount_work(tmp_path: Path, parameter: str) -> None:
    async def scenario(there: World) -> None:
        there.vault.auth = {"k8s/prod": there.vault.kubernetes}
        await there.mount(**{parameter: "k8s/prod"})
        assert there.vault.logins[0]["mount"] == "k8s/prod"

    in_world(tmp_path, scenario)


def test_the_namespace_goes_to_vault_as_a_header(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.mount(vaultNamespace="team-a")
        assert {headers["X-Vault-Namespace"] for headers in there.vault.headers} == {"team-a"}
        assert {headers["X-Vault-Request"] for headers in there.vault.headers} == {"true"}

    in_world(tmp_path, scenario)


def test_a_pod_logs_in_once_and_each_pod_for_itself(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        for pod in ("a", "a", "b", "a"):
            await there.mount(pod=pod)
        assert len(there.vault.logins) == 2

    in_world(tmp_path, scenario)


def test_without_a_cache_every_mount_logs_in(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.mount()
        await there.mount()
        assert len(there.vault.logins) == 2

    in_world(tmp_path, scenario, cache=0)


def test_the_least_recently_used_client_is_dropped(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        for pod in ("a", "b", "a", "c", "a", "b"):
            await there.mount(pod=pod)
        # c pushed b out; a, used in between, stayed.
        assert len(there.vault.logins) == 4

    in_world(tmp_path, scenario, cache=2)


def test_a_403_on_a_kept_token_means_one_login_and_one_more_try(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.mount()
        there.vault.expire_tokens()
        assert await there.mount() == {"password": b"canary-two"}
        assert len(there.vault.logins) == 2

    in_world(tmp_path, scenario)


def test_a_403_right_after_a_login_is_the_answer(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.vault.denied.add("secret/data/app")
        text = await there.refusal()
        assert text.startswith(
            'error making mount request: couldn\'t read secret "password": '
            "error requesting secret: Error making API request.\n\nURL: GET http://127.0.0.1:"
        )
        assert "Code: 403. Errors:\n\n* 1 error occurred:" in text
        assert len(there.vault.logins) == 1
        assert there.vault.reads["GET secret/data/app"] == 1
        # With the token now an old one, a policy's 403 costs one login more, not a loop.
        await there.refusal()
        assert len(there.vault.logins) == 2
        assert there.vault.reads["GET secret/data/app"] == 3

    in_world(tmp_path, scenario)


def test_when_the_second_login_fails_both_reasons_are_told(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        await there.mount()
        there.vault.expire_tokens()
        there.vault.kubernetes.bound["app"] = {"somebody-else"}
        text = await there.refusal()
        assert "failed to fetch secret: Error making API request." in text
        assert "and failed to reauthenticate: failed to login: " in text
        assert "service account name not authorized" in text

    in_world(tmp_path, scenario)


def _wrong_account(vault: FakeVault) -> None:
    vault.kubernetes.accounts["jwt-app"] = "intruder"


def _unknown_role(vault: FakeVault) -> None:
    vault.kubernetes.bound.clear()


def _wrong_mount(vault: FakeVault) -> None:
    vault.auth = {"elsewhere": vault.kubernetes}


def _sealed(vault: FakeVault) -> None:
    vault.failures = [503, 503, 503]


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (_wrong_account, 403, "service account name not authorized"),
        (_wrong_mount, 403, "permission denied"),
        (_unknown_role, 400, 'invalid role name "app"'),
        (_sealed, 503, "internal error"),
    ],
)
def test_a_refused_login_says_so(tmp_path: Path, spoil: object, code: int, words: str) -> None:
    async def scenario(there: World) -> None:
        assert callable(spoil)
        spoil(there.vault)
        text = await there.refusal()
        assert text.startswith(
            'error making mount request: couldn\'t read secret "password": failed to login: '
            "Error making API request.\n\nURL: POST http://127.0.0.1:"
        )
        assert f"/v1/auth/kubernetes/login\nCode: {code}. Errors:\n\n* {words}" in text

    in_world(tmp_path, scenario)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("secretPath: secret/data/none, secretKey: x", "error requesting secret: Error making API"),
        ("secretPath: secret/data/none", "Code: 404. Errors:\n\n"),
        (
            "secretPath: pki/issue/web, secretKey: x",
            "Code: 405. Errors:\n\n* unsupported operation",
        ),
        (
            "secretPath: secret/data/app, secretKey: nope",
            '{secret/data/app}: {key "nope" does not exist at the secret path}',
        ),
        (
            "secretPath: secret/data/app, secretKey: user, encoding: rot13",
            "{secret/data/app}: {invalid encoding type. Should be utf-8, base64, or hex}",
        ),
        (
            "secretPath: secret/data/app, secretKey: password, encoding: base64",
            "{secret/data/app}: {illegal base64 data}",
        ),
        (
            "secretPath: secret/data/app, secretKey: password, encoding: hex",
            "{secret/data/app}: {encoding/hex: not hexadecimal text}",
        ),
        ("secretPath: warned/empty", 'empty response from "warned/empty", warnings: [a b]'),
        ("secretPath: broken/json", "the response is not a JSON object"),
        ("secretPath: broken/list", "the response is not a JSON object"),
        ("secretPath: broken/page", "Code: 502. Raw Message:\n\n(not JSON, and not shown)"),
        ("secretPath: deleted/version", "Code: 404. Errors:\n\n"),
        ("secretPath: moved/away", "Code: 307. Errors:\n\n* a redirect, and none is followed"),
        (
            "secretPath: 'secret/data/app?version=%zz;'",
            'couldn\'t read secret "x": failed to parse query parameters from secretPath '
            '"/v1/secret/data/app?version=%zz;" for objectName "x": '
            "invalid semicolon separator in query",
        ),
        ("secretPath: 'secret/data/app?version=%zz'", ': invalid URL escape "%zz"'),
        ("secretPath: secret/data/app, method: get", "Code: 405. Errors:\n\n"),
        ("secretPath: secret/data/app, method: 'G\\tT'", "is not an HTTP verb"),
    ],
)
def test_a_read_that_fails_names_its_cause(tmp_path: Path, entry: str, words: str) -> None:
    async def scenario(there: World) -> None:
        there.vault.answers = {
            "warned/empty": web.json_response({"data": None, "warnings": ["a", "b"]}),
            "broken/json": web.Response(text="{"),
            "broken/list": web.Response(text="[]"),
            "broken/page": web.Response(text="<html>canary", status=502),
            "deleted/version": web.json_response(
                {"data": {"data": None, "metadata": {"custom_metadata": {"owner": "canary"}}}},
                status=404,
            ),
            "moved/away": web.Response(status=307),
        }
        text = await there.refusal(f"- {{objectName: x, {entry}}}")
        assert text.startswith("error making mount request: ")
        assert words in text
        assert "canary" not in text

    in_world(tmp_path, scenario)


@pytest.mark.parametrize(
    "path",
    ["secret/data/app", "/secret/data/app", "v1/secret//data/app/", "/v1/secret/data/x/../app"],
)
def test_paths_and_mounts_are_cleaned_as_the_go_client_cleans_them(
    tmp_path: Path, path: str
) -> None:
    async def scenario(there: World) -> None:
        objects = f"- {{objectName: password, secretPath: '{path}', secretKey: password}}"
        # As `vault auth list` prints the mount.
        assert await there.mount(objects, vaultAuthMountPath="kubernetes/") == {
            "password": b"canary-two"
        }
        assert [login["mount"] for login in there.vault.logins] == ["kubernetes"]

    in_world(tmp_path, scenario)


def test_a_token_that_cannot_be_made_fails_the_mount(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        there.cluster.refusal = "failed to create a service account token for requesting pod {web}"
        text = await there.refusal(tokens={})
        assert text == (
            'error making mount request: couldn\'t read secret "password": '
            "failed to create a service account token for requesting pod {web}"
        )

    in_world(tmp_path, scenario)


def test_an_unforeseen_exception_is_answered_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(there: World) -> None:
        async def broken() -> bytes:
            raise ZeroDivisionError("a-secret-value")

        monkeypatch.setattr(there.cluster, "hmac_key", broken)
        text = await there.refusal()
        assert "ZeroDivisionError in the provider" in text
        assert "a-secret-value" not in text

    in_world(tmp_path, scenario)


def test_a_long_refusal_still_reaches_the_driver(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        entry = "- {objectName: " + "ä" * 3000 + "}\n"
        assert "must be unique" in await there.refusal(entry * 3)

    in_world(tmp_path, scenario)
