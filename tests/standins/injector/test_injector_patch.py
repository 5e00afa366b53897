"""What the patch does to a pod as a whole: order, shape, and the odd pods."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from standins.injector.annotations import PREFIX
from standins.injector.settings import Settings
from tests.standins.injector.support import (
    ASKING,
    SETTINGS,
    TOKEN_MOUNT,
    a_pod,
    assert_acceptable,
    inject,
)

ADDRESS = SETTINGS.vault_addr
DB = {"agent-inject-secret-db": "secret/data/db"}


def test_patch_of_an_ordinary_pod() -> None:
    result = inject(ASKING | DB)
    assert [(each["op"], each["path"]) for each in result.patch] == [
        ("add", "/spec/volumes/-"),
        ("add", "/spec/volumes/-"),
        ("add", "/spec/volumes/-"),
        ("add", "/spec/containers/0/volumeMounts/-"),
        ("add", "/spec/containers/1/volumeMounts/-"),
        ("add", "/spec/initContainers/-"),
        ("add", "/spec/initContainers/0/volumeMounts"),
        ("add", "/spec/initContainers/1/volumeMounts/-"),
        ("add", "/spec/containers/-"),
        ("add", "/metadata/annotations/vault.hashicorp.com~1agent-inject-status"),
    ]
    assert result.response["patchType"] == "JSONPatch"
    memory = {"medium": "Memory"}
    assert [each for each in result.pod["spec"]["volumes"] if "emptyDir" in each] == [
        {"name": "home-init", "emptyDir": memory},
        {"name": "home-sidecar", "emptyDir": memory},
        {"name": "vault-secrets", "emptyDir": memory},
    ]
    assert result.mounts("vault-agent-init") == {
        "/home/vault": "home-init",
        TOKEN_MOUNT: "kube-api-access-x7k2p",
        "/vault/secrets": "vault-secrets",
    }
    token = [each for each in result.sidecar["volumeMounts"] if each["mountPath"] == TOKEN_MOUNT]
    assert token[0]["readOnly"] is True
    assert result.init["command"] == ["/bin/sh", "-ec"]
    assert result.init["args"] == [
        "echo ${VAULT_CONFIG?} | base64 -d > /home/vault/config.json"
        " && vault agent -config=/home/vault/config.json"
    ]
    assert_acceptable(result.pod)


def test_only_the_status_is_written_back() -> None:
    result = inject(ASKING)
    added = set(result.pod["metadata"]["annotations"]) - {PREFIX + name for name in ASKING}
    assert added == {PREFIX + "agent-inject-status"}


def test_configuration_of_both_agents() -> None:
    result = inject(ASKING | DB)
    expected = {
        "auto_auth": {
            "method": {
                "type": "kubernetes",
                "mount_path": "auth/kubernetes",
                "config": {"role": "app", "token_path": f"{TOKEN_MOUNT}/token"},
            },
            "sink": [{"type": "file", "config": {"path": "/home/vault/.vault-token"}}],
        },
        "exit_after_auth": False,
        "pid_file": "/home/vault/.pid",
        "vault": {"address": ADDRESS},
        "template": [
            {
                "destination": "/vault/secrets/db",
                "contents": '{{ with secret "secret/data/db" }}{{ range $k, $v := .Data }}'
                "{{ $k }}: {{ $v }}\n{{ end }}{{ end }}",
                "left_delimiter": "{{",
                "right_delimiter": "}}",
            }
        ],
        "template_config": {"exit_on_retry_failure": True},
    }
    assert result.config() == expected
    assert result.config("vault-agent-init") == expected | {"exit_after_auth": True}


def test_pod_without_volumes_mounts_and_init_containers() -> None:
    token = {"name": "api", "mountPath": TOKEN_MOUNT}
    spec: dict[str, Any] = {
        "containers": [
            {"name": "app", "image": "a", "volumeMounts": [token]},
            {"name": "bare", "image": "b"},
        ],
        "initContainers": None,
        "volumes": None,
    }
    # The token volume is missing here: lists are created, none is overwritten.
    result = inject(ASKING | {"tls-secret": "ca"}, pod=a_pod(**spec))
    names = [each["name"] for each in result.pod["spec"]["volumes"]]
    assert names == ["home-init", "home-sidecar", "vault-secrets", "vault-tls-secrets"]
    assert result.mounts("bare") == {"/vault/secrets": "vault-secrets"}
    assert [each["name"] for each in result.pod["spec"]["initContainers"]] == ["vault-agent-init"]


def test_init_first_mounts_secrets_into_the_moved_containers() -> None:
    result = inject(ASKING | {"agent-init-first": "true"})
    assert [each["op"] for each in result.patch].count("remove") == 1
    inits = result.pod["spec"]["initContainers"]
    assert [each["name"] for each in inits] == ["vault-agent-init", "first", "second"]
    assert "/vault/secrets" in result.mounts("first")
    assert "/vault/secrets" in result.mounts("second")
    assert_acceptable(result.pod)


def test_init_first_without_other_init_containers() -> None:
    result = inject(ASKING | {"agent-init-first": "true"}, pod=a_pod(initContainers=[]))
    assert [each["name"] for each in result.pod["spec"]["initContainers"]] == ["vault-agent-init"]


def test_process_namespace_is_only_touched_with_an_init_container() -> None:
    given = ASKING | {"agent-share-process-namespace": "true", "agent-pre-populate": "false"}
    assert "shareProcessNamespace" not in inject(given).pod["spec"]


def test_process_namespace_that_the_pod_refuses() -> None:
    pod = a_pod(shareProcessNamespace=False)
    result = inject(ASKING | {"agent-share-process-namespace": "true"}, pod=pod)
    assert "shareProcessNamespace explicitly disabled on the pod" in result.message


@pytest.mark.parametrize(
    ("given", "persisted", "in_init", "in_sidecar"),
    [
        ({}, True, True, True),
        ({"agent-pre-populate": "false"}, False, False, True),
        ({"agent-pre-populate-only": "true"}, False, False, False),
    ],
    ids=["both", "sidecar", "init"],
)
def test_cache_is_handed_over_only_between_two_agents(
    given: dict[str, str], persisted: bool, in_init: bool, in_sidecar: bool
) -> None:
    result = inject(ASKING | {"agent-cache-enable": "true"} | given)
    assert bool(result.volume("vault-agent-cache")) is persisted
    assert ("cache" in result.config("vault-agent-init")) is in_init
    assert ("cache" in result.config("vault-agent")) is in_sidecar


def test_quit_endpoint_goes_on_the_cache_listener() -> None:
    config = inject(ASKING | {"agent-cache-enable": "true", "agent-enable-quit": "true"}).config()
    assert len(config["listener"]) == 1
    assert config["listener"][0]["agent_api"] == {"enable_quit": True}
    assert config["cache"]["use_auto_auth_token"] == "true"


def test_secrets_with_paths_of_their_own_share_volumes() -> None:
    result = inject(
        ASKING
        | {
            "agent-inject-secret-a": "kv/a",
            "agent-inject-secret-b": "kv/b",
            "agent-inject-secret-c": "kv/c",
            "agent-inject-secret-d": "kv/d",
            "secret-volume-path-a": "/one",
            "secret-volume-path-b": "/two",
            "secret-volume-path-c": "/one",
        }
    )
    assert result.mounts("app")["/one"] == "vault-secrets-custom-0"
    assert result.mounts("app")["/two"] == "vault-secrets-custom-1"
    assert not result.volume("vault-secrets-custom-2")
    assert [each["destination"] for each in result.config()["template"]] == [
        "/one/a",
        "/two/b",
        "/one/c",
        "/vault/secrets/d",
    ]


def test_template_alone_defines_a_secret() -> None:
    templates = inject(ASKING | {"agent-inject-template-App.Conf": "x"}).config()["template"]
    assert [(each["destination"], each["contents"]) for each in templates] == [
        ("/vault/secrets/app.conf", "x")
    ]


def test_inline_template_wins_over_a_file() -> None:
    both = {"agent-inject-template-a": "x", "agent-inject-template-file-a": "/t"}
    template = inject(ASKING | both).template("a")
    assert template["contents"] == "x"
    assert "source" not in template


def test_empty_annotations_define_no_secret() -> None:
    config = inject(ASKING | {"agent-inject-secret-a": "  ", "agent-inject-secret-": "kv/x"})
    assert "template" not in config.config()


def test_file_name_is_joined_not_appended() -> None:
    result = inject(ASKING | DB | {"agent-inject-file-db": "/../a//b"})
    assert result.config()["template"][0]["destination"] == "/vault/a/b"


def test_token_volume_that_is_mounted_is_used_where_it_is() -> None:
    mount = {"name": "own", "mountPath": "/run/own"}
    spec: dict[str, Any] = {
        "containers": [{"name": "app", "image": "a", "volumeMounts": [mount]}],
        "initContainers": [],
        "volumes": [
            {"name": "own", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
        ],
    }
    result = inject(ASKING | {"agent-service-account-token-volume-name": "own"}, pod=a_pod(**spec))
    assert result.config()["auto_auth"]["method"]["config"]["token_path"] == "/run/own/t"
    assert_acceptable(result.pod)


def test_token_volume_has_to_be_projected() -> None:
    spec: dict[str, Any] = {"volumes": [{"name": "own", "emptyDir": {}}]}
    given = ASKING | {"agent-service-account-token-volume-name": "own"}
    result = inject(given, pod=a_pod(**spec))
    assert result.message.endswith('failed to find tokenPath for projected volume "own"')


def test_automount_off_leaves_nothing_to_log_in_with() -> None:
    result = inject(ASKING, pod=a_pod(containers=[{"name": "app", "image": "a"}], volumes=[]))
    assert result.message == (
        "error creating new agent sidecar: failed to find service account volume mount"
    )


def test_role_may_come_from_the_auth_parameters() -> None:
    result = inject({"agent-inject": "true", "auth-config-role": "web"})
    assert result.config()["auto_auth"]["method"]["config"]["role"] == "web"


@pytest.mark.parametrize("given", [{"agent-configmap": "mine"}, {"auth-type": "approle"}])
def test_role_is_not_needed_without_kubernetes_auth(given: dict[str, str]) -> None:
    assert inject({"agent-inject": "true"} | given).allowed


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({}, "RunAsUser is nil for Container 0's SecurityContext"),
        ({"runAsUser": 0}, "container not allowed to run as root"),
    ],
)
def test_same_user_needs_a_user(context: dict[str, Any], message: str) -> None:
    pod = a_pod()
    pod["spec"]["containers"][0]["securityContext"] = context
    result = inject(ASKING | {"agent-run-as-same-user": "true"}, pod=pod)
    assert result.message.endswith(message)


@pytest.mark.parametrize(
    ("given", "has"),
    [({}, False), ({"agent-run-as-user": "7"}, True), ({"agent-run-as-same-user": "f"}, True)],
    ids=["plain", "uid", "same"],
)
def test_asking_for_a_uid_asks_for_a_security_context(given: dict[str, str], has: bool) -> None:
    settings = Settings(vault_addr=ADDRESS, set_security_context=False)
    result = inject(ASKING | given, settings=settings)
    assert ("securityContext" in result.sidecar) is has


def test_ca_of_the_injector_reaches_both_agents() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    for given in (pem, base64.b64encode(pem.encode()).decode()):
        result = inject(ASKING, settings=Settings(vault_addr=ADDRESS, vault_cacert_bytes=given))
        assert result.env("VAULT_CACERT_BYTES", "vault-agent-init") == pem
        assert result.env("VAULT_CACERT_BYTES", "vault-agent") == pem


def test_settings_are_the_defaults_of_annotations() -> None:
    settings = Settings(
        vault_addr=ADDRESS,
        vault_image="v:9",
        default_template="json",
        vault_auth_path="auth/k9",
        vault_namespace="team",
        revoke_on_shutdown=True,
        auth_min_backoff="3s",
        cpu_limit="",
        mem_limit="",
        exit_on_retry_failure=False,
        lease_renewal_threshold=0.5,
        disable_keep_alives="caching",
    )
    result = inject(ASKING | DB, settings=settings)
    config = result.config()
    assert result.sidecar["image"] == "v:9"
    assert "limits" not in result.sidecar["resources"]
    assert "preStop" in result.sidecar["lifecycle"]
    assert config["template"][0]["contents"].endswith("toJSON }}\n{{ end }}")
    assert config["auto_auth"]["method"]["mount_path"] == "auth/k9"
    assert config["auto_auth"]["method"]["namespace"] == "team"
    assert config["auto_auth"]["method"]["min_backoff"] == "3s"
    assert config["disable_keep_alives"] == ["caching"]
    # The injector-wide threshold is read and not used, as upstream does at v1.7.6.
    assert config["template_config"] == {"exit_on_retry_failure": False}


def test_aws_auth_lends_the_web_identity() -> None:
    pod = a_pod()
    app = pod["spec"]["containers"][0]
    app["env"] = [{"name": "AWS_ROLE_ARN", "value": "arn:1"}, {"name": "OTHER", "value": "x"}]
    mount = {"name": "aws", "mountPath": "/var/run/secrets/eks.amazonaws.com/serviceaccount"}
    app["volumeMounts"].append(mount)
    pod["spec"]["volumes"].append({"name": "aws", "projected": {"sources": []}})
    given = ASKING | {"auth-type": "aws", "auth-config-region": "eu-1"}
    result = inject(given, pod=pod)
    assert result.env("AWS_ROLE_ARN") == "arn:1"
    assert result.env("AWS_REGION") == "eu-1"
    assert result.env("OTHER") is None
    assert result.mounts("vault-agent")[mount["mountPath"]] == "aws"
    assert_acceptable(result.pod)


def test_copied_mounts_leave_out_tokens_and_paths_in_use() -> None:
    pod = a_pod()
    pod["spec"]["volumes"].append({"name": "data", "emptyDir": {}})
    pod["spec"]["initContainers"][0]["volumeMounts"] = [
        {"name": "data", "mountPath": "/home/vault"},
        {"name": "data", "mountPath": "/run/ServiceAccount"},
        {"name": "data", "mountPath": "/data"},
    ]
    result = inject(ASKING | {"agent-copy-volume-mounts": "first"}, pod=pod)
    assert result.mounts("vault-agent")["/home/vault"] == "home-sidecar"
    assert result.mounts("vault-agent")["/data"] == "data"
    assert "/run/ServiceAccount" not in result.mounts("vault-agent")


@pytest.mark.parametrize(
    ("given", "telemetry"),
    [
        ({"agent-telemetry-made-up": "1"}, {}),
        ({"agent-telemetry-maximum-gauge-cardinality": "many"}, None),
        ({"agent-telemetry-prefix-filter": "[1]"}, None),
        ({"agent-telemetry-maximum-gauge-cardinality": "3.0"}, {"maximum_gauge_cardinality": 3}),
        ({"agent-telemetry-disable-hostname": "false"}, {}),
        ({"agent-telemetry-statsd-address": "NaN"}, {"statsd_address": "NaN"}),
        ({"agent-telemetry-statsd-address": "1e999"}, {"statsd_address": "1e999"}),
        ({"agent-telemetry-statsd-address": "1e99"}, None),
        ({"agent-telemetry-Statsd-Address": "x:1"}, {"statsd_address": "x:1"}),
        ({"agent-telemetry-prefix-filter": '["a", null]'}, {"prefix_filter": ["a", ""]}),
        ({"agent-telemetry-prefix-filter": "null"}, {}),
        (
            {"agent-telemetry-num-lease-metrics-buckets": "9007199254740993"},
            {"num_lease_metrics_buckets": 9007199254740992},
        ),
        (
            {"agent-telemetry-num-lease-metrics-buckets": "1e18"},
            {"num_lease_metrics_buckets": 10**18},
        ),
        ({"agent-telemetry-num-lease-metrics-buckets": "1e19"}, None),
    ],
)
def test_telemetry_values_of_the_wrong_type(given: dict[str, str], telemetry: Any) -> None:
    assert inject(ASKING | given).config().get("telemetry") == telemetry


def test_copied_mounts_yield_to_every_mount_of_the_agent() -> None:
    pod = a_pod()
    pod["spec"]["volumes"].append({"name": "data", "emptyDir": {}})
    taken = ["/vault/tls", "/vault/configs/", "/vault/agent-cache", "/vault/custom"]
    pod["spec"]["containers"][0]["volumeMounts"] += [
        {"name": "data", "mountPath": path} for path in [*taken, "/data"]
    ]
    given = {
        "agent-copy-volume-mounts": "app",
        "tls-secret": "ca",
        "agent-configmap": "mine",
        "agent-extra-secret": "more",
        "agent-cache-enable": "true",
    }
    result = inject(ASKING | given, pod=pod)
    for agent in ("vault-agent", "vault-agent-init"):
        assert [path for path, name in result.mounts(agent).items() if name == "data"] == ["/data"]
    assert_acceptable(result.pod)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_ca_in_lines_of_base64(end: str) -> None:
    pem = "-----BEGIN CERTIFICATE-----\n" + "MIIB" * 60 + "\n-----END CERTIFICATE-----\n"
    text = base64.b64encode(pem.encode()).decode()
    lines = end.join(text[start : start + 76] for start in range(0, len(text), 76)) + end
    result = inject(ASKING, settings=Settings(vault_addr=ADDRESS, vault_cacert_bytes=lines))
    assert result.env("VAULT_CACERT_BYTES") == pem
