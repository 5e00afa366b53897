"""Every annotation: what holds without it, what it changes, and how it can be wrong.

One row each. The rows are checked against the injector's list of annotations, so an
annotation without a row fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from kubernetes.client import V1Pod

from standins.injector.annotations import ANNOTATIONS
from tests.standins.injector.support import (
    ASKING,
    TOKEN_MOUNT,
    Result,
    a_pod,
    assert_acceptable,
    inject,
)

DB = {"agent-inject-secret-db": "secret/data/db"}
CACHE = {"agent-cache-enable": "true"}
SIDE = "vault-agent"
INIT = "vault-agent-init"


@dataclass
class Row:
    """`probe` of the outcome is `default` without `given` and `changed` with it."""

    name: str
    given: dict[str, str]
    probe: Callable[[Result], Any]
    default: Any
    changed: Any
    base: dict[str, str] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def asking(self) -> dict[str, str]:
        """The annotations that are there in both cases."""
        return {key: value for key, value in ASKING.items() if key not in self.without} | self.base


def method(result: Result) -> dict[str, Any]:
    """The auto_auth method of the sidecar's configuration."""
    return dict(result.config()["auto_auth"]["method"])


def in_vault(key: str) -> Callable[[Result], Any]:
    """A field of the vault stanza."""
    return lambda r: r.config()["vault"].get(key)


def in_template_config(key: str) -> Callable[[Result], Any]:
    """A field of the template_config stanza."""
    return lambda r: r.config()["template_config"].get(key)


def in_template(key: str) -> Callable[[Result], Any]:
    """A field of the template of the secret db."""
    return lambda r: r.template().get(key)


def of_env(name: str) -> Callable[[Result], Any]:
    """A variable of the sidecar."""
    return lambda r: r.env(name)


def in_resources(kind: str, name: str) -> Callable[[Result], Any]:
    """A resource of both agents."""
    return lambda r: tuple(
        each["resources"].get(kind, {}).get(name) for each in (r.init, r.sidecar)
    )


def init_names(result: Result) -> list[str]:
    """The init containers, in order."""
    return [each["name"] for each in result.pod["spec"]["initContainers"]]


def mounting(result: Result) -> list[str]:
    """The containers that see the secrets."""
    spec = result.pod["spec"]
    return [
        each["name"]
        for each in [*spec["containers"], *spec["initContainers"]]
        if "/vault/secrets" in result.mounts(each["name"])
    ]


MAP = '{{ with secret "secret/data/db" }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}\n'
MAP += "{{ end }}{{ end }}"
JSON = '{{ with secret "secret/data/db" }}{{ .Data | toJSON }}\n{{ end }}'
SAME_USER = [
    {
        "name": "app",
        "image": "app:1",
        "securityContext": {"runAsUser": 4711},
        "volumeMounts": [{"name": "kube-api-access-x7k2p", "mountPath": TOKEN_MOUNT}],
    }
]
TWO_TOKENS = [
    {
        "name": "kube-api-access-x7k2p",
        "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
    },
    {
        "name": "own-token",
        "projected": {
            "sources": [{"configMap": {"name": "ca"}}, {"serviceAccountToken": {"path": "jwt"}}]
        },
    },
]
COPIED = [
    {
        "name": "app",
        "image": "app:1",
        "volumeMounts": [
            {"name": "kube-api-access-x7k2p", "mountPath": TOKEN_MOUNT},
            {"name": "data", "mountPath": "/data", "readOnly": True},
            {"name": "data", "mountPath": "/vault/secrets/own"},
        ],
    }
]
WITH_DATA = [a_pod()["spec"]["volumes"][0], {"name": "data", "emptyDir": {}}]

ROWS = [
    Row("agent-inject", {"agent-inject": "true"}, lambda r: bool(r.patch), False, True,
        without=("agent-inject",)),
    Row("agent-inject-status", {"agent-inject-status": "injected"},
        lambda r: (bool(r.patch), r.pod["metadata"]["annotations"].get(
            "vault.hashicorp.com/agent-inject-status")),
        (True, "injected"), (False, "injected")),
    Row("agent-inject-secret-", DB, lambda r: r.template("db").get("contents"), None, MAP),
    Row("agent-inject-template-", {"agent-inject-template-db": "{{ key }}"},
        in_template("contents"), MAP, "{{ key }}", DB),
    Row("agent-inject-template-file-", {"agent-inject-template-file-db": "/vault/custom/t"},
        lambda r: (r.template().get("source"), r.template().get("contents")),
        (None, MAP), ("/vault/custom/t", None), DB),
    Row("agent-inject-file-", {"agent-inject-file-db": "conf/db.env"},
        lambda r: [t["destination"] for t in r.config()["template"]],
        ["/vault/secrets/db"], ["/vault/secrets/conf/db.env"], DB),
    Row("agent-inject-perms-", {"agent-inject-perms-db": "0400"},
        in_template("perms"), None, "0400", DB),
    Row("agent-inject-command-", {"agent-inject-command-db": "kill -HUP 1"},
        in_template("command"), None, "kill -HUP 1", DB),
    Row("agent-template-left-delim-", {"agent-template-left-delim-db": "<<"},
        in_template("left_delimiter"), "{{", "<<", DB),
    Row("agent-template-right-delim-", {"agent-template-right-delim-db": ">>"},
        in_template("right_delimiter"), "}}", ">>", DB),
    Row("error-on-missing-key-", {"error-on-missing-key-db": "true"},
        in_template("error_on_missing_key"), None, True, DB),
    Row("secret-volume-path", {"secret-volume-path": "/run/s"},
        lambda r: (r.template()["destination"], r.mounts("app").get("/run/s")),
        ("/vault/secrets/db", None), ("/run/s/db", "vault-secrets"), DB),
    Row("secret-volume-path-", {"secret-volume-path-db": "/run/db"},
        lambda r: (r.template()["destination"], r.mounts("app").get("/run/db"),
                   r.volume("vault-secrets-custom-0").get("emptyDir")),
        ("/vault/secrets/db", None, None),
        ("/run/db/db", "vault-secrets-custom-0", {"medium": "Memory"}), DB),
    Row("preserve-secret-case", {"preserve-secret-case": "true"},
        lambda r: r.config()["template"][0]["destination"],
        "/vault/secrets/api", "/vault/secrets/API", {"agent-inject-secret-API": "kv/api"}),
    Row("preserve-secret-case-", {"preserve-secret-case-API": "true"},
        lambda r: [t["destination"] for t in r.config()["template"]],
        ["/vault/secrets/api", "/vault/secrets/key"], ["/vault/secrets/API", "/vault/secrets/key"],
        {"agent-inject-secret-API": "kv/api", "agent-inject-secret-Key": "kv/key"}),
    Row("agent-inject-default-template", {"agent-inject-default-template": "JSON"},
        in_template("contents"), MAP, JSON, DB),
    Row("agent-inject-containers", {"agent-inject-containers": "helper"}, mounting,
        ["app", "helper", SIDE, "first", "second", INIT],
        ["helper", SIDE, "first", "second", INIT]),
    Row("agent-inject-token", {"agent-inject-token": "true"},
        lambda r: [sink["config"]["path"] for sink in r.config()["auto_auth"]["sink"]],
        ["/home/vault/.vault-token"], ["/home/vault/.vault-token", "/vault/secrets/token"]),
    Row("agent-image", {"agent-image": "vault:x"},
        lambda r: (r.init["image"], r.sidecar["image"]),
        ("hashicorp/vault:2.0.4",) * 2, ("vault:x",) * 2),
    Row("agent-request-namespace", {"agent-request-namespace": "other"},
        # Only checked for being there; like every default it is not written to the pod.
        lambda r: r.pod["metadata"]["annotations"].get(
            "vault.hashicorp.com/agent-request-namespace"), None, "other"),
    Row("agent-init-first", {"agent-init-first": "true"}, init_names,
        ["first", "second", INIT], [INIT, "first", "second"]),
    Row("agent-pre-populate", {"agent-pre-populate": "false"},
        lambda r: (init_names(r), bool(r.volume("home-init")), bool(r.sidecar)),
        (["first", "second", INIT], True, True), (["first", "second"], False, True)),
    Row("agent-pre-populate-only", {"agent-pre-populate-only": "true"},
        lambda r: (bool(r.init), bool(r.sidecar), bool(r.volume("home-sidecar"))),
        (True, True, True), (True, False, False)),
    Row("agent-configmap", {"agent-configmap": "mine"},
        lambda r: (r.volume("vault-config").get("configMap"), r.env("VAULT_CONFIG") is None,
                   r.env("VAULT_ADDR"), r.env("VAULT_SKIP_VERIFY"), r.init["args"][0][:5],
                   r.sidecar["args"][0].split("-config=")[1], r.mounts(INIT).get("/vault/configs")),
        (None, False, None, None, "echo ", "/home/vault/config.json", None),
        ({"name": "mine"}, True, "https://vault.vault.svc:8200", "false", "touch",
         "/vault/configs/config.hcl", "vault-config")),
    Row("agent-extra-secret", {"agent-extra-secret": "more"},
        lambda r: (r.volume("extra-secrets").get("secret"), r.mounts(SIDE).get("/vault/custom"),
                   r.mounts("app").get("/vault/custom")),
        (None, None, None), ({"secretName": "more"}, "extra-secrets", None)),
    Row("agent-copy-volume-mounts", {"agent-copy-volume-mounts": "app"},
        lambda r: (r.mounts(SIDE).get("/data"), r.mounts(INIT).get("/vault/secrets/own")),
        (None, None), ("data", "data"), spec={"containers": COPIED, "volumes": WITH_DATA}),
    Row("agent-limits-cpu", {"agent-limits-cpu": "1"}, in_resources("limits", "cpu"),
        ("500m", "500m"), ("1", "1")),
    Row("agent-limits-mem", {"agent-limits-mem": ""}, in_resources("limits", "memory"),
        ("128Mi", "128Mi"), (None, None)),
    Row("agent-limits-ephemeral", {"agent-limits-ephemeral": "1Gi"},
        in_resources("limits", "ephemeral-storage"), (None, None), ("1Gi", "1Gi")),
    Row("agent-requests-cpu", {"agent-requests-cpu": "0.1"}, in_resources("requests", "cpu"),
        ("250m", "250m"), ("0.1", "0.1")),
    Row("agent-requests-mem", {"agent-requests-mem": "32Mi"}, in_resources("requests", "memory"),
        ("64Mi", "64Mi"), ("32Mi", "32Mi")),
    Row("agent-requests-ephemeral", {"agent-requests-ephemeral": "1e6"},
        in_resources("requests", "ephemeral-storage"), (None, None), ("1e6", "1e6")),
    Row("agent-revoke-on-shutdown", {"agent-revoke-on-shutdown": "true"},
        lambda r: (r.sidecar["lifecycle"], "lifecycle" in r.init),
        ({}, False),
        ({"preStop": {"exec": {"command": [
            "/bin/sh", "-c", "/bin/sleep 5 && /bin/vault token revoke"
            " -address=https://vault.vault.svc:8200 -ca-cert=/vault/tls/ca.crt -self"]}}}, False),
        {"ca-cert": "/vault/tls/ca.crt"}),
    Row("agent-revoke-grace", {"agent-revoke-grace": "30"},
        lambda r: r.sidecar["lifecycle"]["preStop"]["exec"]["command"][2].split(" && ")[0],
        "/bin/sleep 5", "/bin/sleep 30", {"agent-revoke-on-shutdown": "true"}),
    Row("agent-run-as-user", {"agent-run-as-user": "0"},
        lambda r: (r.sidecar["securityContext"]["runAsUser"],
                   r.init["securityContext"]["runAsNonRoot"]), (100, True), (0, False)),
    Row("agent-run-as-group", {"agent-run-as-group": "2000"},
        lambda r: r.sidecar["securityContext"]["runAsGroup"], 1000, 2000),
    Row("agent-run-as-same-user", {"agent-run-as-same-user": "true"},
        lambda r: r.sidecar["securityContext"]["runAsUser"], 100, 4711,
        spec={"containers": SAME_USER}),
    Row("agent-set-security-context", {"agent-set-security-context": "false"},
        lambda r: (r.init.get("securityContext"), r.sidecar.get("securityContext")),
        ({"runAsUser": 100, "runAsGroup": 1000, "runAsNonRoot": True,
          "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
          "allowPrivilegeEscalation": False},) * 2, (None, None)),
    Row("agent-share-process-namespace", {"agent-share-process-namespace": "true"},
        lambda r: r.pod["spec"].get("shareProcessNamespace"), None, True),
    Row("agent-service-account-token-volume-name",
        {"agent-service-account-token-volume-name": "own-token"},
        lambda r: (method(r)["config"]["token_path"], r.mounts(SIDE).get(
            "/var/run/secrets/vault.hashicorp.com/serviceaccount")),
        (f"{TOKEN_MOUNT}/token", None),
        ("/var/run/secrets/vault.hashicorp.com/serviceaccount/jwt", "own-token"),
        spec={"volumes": TWO_TOKENS}),
    Row("service", {"service": "http://other:8200"}, in_vault("address"),
        "https://vault.vault.svc:8200", "http://other:8200"),
    Row("namespace", {"namespace": "team"}, lambda r: method(r).get("namespace"), None, "team"),
    Row("proxy-address", {"proxy-address": "http://p:3128"}, of_env("HTTPS_PROXY"),
        None, "http://p:3128"),
    Row("role", {"role": "web"}, lambda r: method(r)["config"]["role"], "app", "web"),
    Row("auth-type", {"auth-type": "jwt"}, lambda r: method(r)["type"], "kubernetes", "jwt"),
    Row("auth-path", {"auth-path": "auth/k2"}, lambda r: method(r)["mount_path"],
        "auth/kubernetes", "auth/k2"),
    Row("auth-config-", {"auth-config-remove-jwt": "1", "auth-config-role": "loses"},
        lambda r: method(r)["config"],
        {"role": "app", "token_path": f"{TOKEN_MOUNT}/token"},
        {"role": "app", "token_path": f"{TOKEN_MOUNT}/token", "remove_jwt": "1"}),
    Row("auth-min-backoff", {"auth-min-backoff": "2s"},
        lambda r: method(r).get("min_backoff"), None, "2s"),
    Row("auth-max-backoff", {"auth-max-backoff": "1m30s"},
        lambda r: method(r).get("max_backoff"), None, "1m30s"),
    Row("agent-auto-auth-exit-on-err", {"agent-auto-auth-exit-on-err": "true"},
        lambda r: method(r).get("exit_on_err"), None, True),
    Row("tls-skip-verify", {"tls-skip-verify": "1"}, in_vault("tls_skip_verify"), None, True),
    Row("tls-secret", {"tls-secret": "ca"},
        lambda r: (r.volume("vault-tls-secrets").get("secret"), r.mounts(INIT).get("/vault/tls"),
                   r.mounts("app").get("/vault/tls")),
        (None, None, None), ({"secretName": "ca"}, "vault-tls-secrets", None)),
    Row("tls-server-name", {"tls-server-name": "v"}, in_vault("tls_server_name"), None, "v"),
    Row("ca-cert", {"ca-cert": "/vault/tls/ca"}, in_vault("ca_cert"), None, "/vault/tls/ca"),
    Row("ca-key", {"ca-key": "/vault/tls/k"}, in_vault("ca_path"), None, "/vault/tls/k"),
    Row("client-cert", {"client-cert": "/c"}, in_vault("client_cert"), None, "/c"),
    Row("client-key", {"client-key": "/k"}, in_vault("client_key"), None, "/k"),
    Row("client-max-retries", {"client-max-retries": "5"}, of_env("VAULT_MAX_RETRIES"), None, "5"),
    Row("client-timeout", {"client-timeout": "60s"}, of_env("VAULT_CLIENT_TIMEOUT"), None, "60s"),
    Row("go-max-procs", {"go-max-procs": "2"}, of_env("GOMAXPROCS"), None, "2"),
    Row("log-level", {"log-level": "debug"}, of_env("VAULT_LOG_LEVEL"), "info", "debug"),
    Row("log-format", {"log-format": "json"}, of_env("VAULT_LOG_FORMAT"), "standard", "json"),
    Row("agent-cache-enable", CACHE,
        lambda r: (r.config().get("cache"), r.config(INIT).get("cache"),
                   r.config().get("listener"), r.mounts(INIT).get("/vault/agent-cache")),
        (None, None, None, None),
        ({"persist": {"type": "kubernetes", "path": "/vault/agent-cache"},
          "use_auto_auth_token": "true"},) * 2
        + ([{"type": "tcp", "address": "127.0.0.1:8200", "tls_disable": True}],
           "vault-agent-cache")),
    Row("agent-cache-use-auto-auth-token", {"agent-cache-use-auto-auth-token": "force"},
        lambda r: r.config()["cache"]["use_auto_auth_token"], "true", "force", CACHE),
    Row("agent-cache-listener-port", {"agent-cache-listener-port": "8100"},
        lambda r: r.config()["listener"][0]["address"], "127.0.0.1:8200", "127.0.0.1:8100", CACHE),
    Row("agent-cache-exit-on-err", {"agent-cache-exit-on-err": "true"},
        lambda r: r.config()["cache"]["persist"].get("exit_on_err"), None, True, CACHE),
    Row("agent-enable-quit", {"agent-enable-quit": "true"},
        lambda r: (r.config().get("listener"), r.config().get("cache")), (None, None),
        ([{"type": "tcp", "address": "127.0.0.1:8200", "tls_disable": True,
           "agent_api": {"enable_quit": True}}], {})),
    Row("agent-disable-idle-connections", {"agent-disable-idle-connections": "caching,templating"},
        lambda r: r.config().get("disable_idle_connections"), None, ["caching", "templating"]),
    Row("agent-disable-keep-alives", {"agent-disable-keep-alives": "auto-auth"},
        lambda r: r.config().get("disable_keep_alives"), None, ["auto-auth"]),
    Row("agent-json-patch",
        {"agent-json-patch": '[{"op": "replace", "path": "/name", "value": "side"},'
                             '{"op": "add", "path": "/env/-", "value": {"name": "A"}}]'},
        lambda r: [c["name"] for c in r.pod["spec"]["containers"]],
        ["app", "helper", SIDE], ["app", "helper", "side"]),
    Row("agent-init-json-patch",
        {"agent-init-json-patch": '[{"op": "remove", "path": "/resources/limits/cpu"}]'},
        lambda r: (r.init["resources"]["limits"], r.sidecar["resources"]["limits"]),
        ({"cpu": "500m", "memory": "128Mi"},) * 2,
        ({"memory": "128Mi"}, {"cpu": "500m", "memory": "128Mi"})),
    Row("template-config-exit-on-retry-failure", {"template-config-exit-on-retry-failure": "f"},
        in_template_config("exit_on_retry_failure"), True, False),
    Row("template-static-secret-render-interval", {"template-static-secret-render-interval": "5s"},
        in_template_config("static_secret_render_interval"), None, "5s"),
    Row("template-max-connections-per-host", {"template-max-connections-per-host": "7"},
        in_template_config("max_connections_per_host"), None, 7),
    Row("template-lease-renewal-threshold", {"template-lease-renewal-threshold": "0.75"},
        in_template_config("lease_renewal_threshold"), None, 0.75),
    Row("agent-telemetry-",
        {"agent-telemetry-prometheus-retention-time": "24h",
         "agent-telemetry-disable-hostname": "true",
         "agent-telemetry-prefix-filter": '["+vault", "-go"]',
         "agent-telemetry-maximum-gauge-cardinality": "3",
         "agent-telemetry-made-up": "x"},
        lambda r: r.config().get("telemetry"), None,
        {"prometheus_retention_time": "24h", "disable_hostname": True,
         "prefix_filter": ["+vault", "-go"], "maximum_gauge_cardinality": 3}),
]  # fmt: skip

NEW = "error creating new agent sidecar: "
DEFAULTS = "error adding default annotations: "
PATCH = "error creating patch for agent: "
VALID = "error validating agent configuration: "
REGEX = r"quantities must match the regular expression"

# What is wrong, and how the refusal begins.
REFUSED: list[tuple[dict[str, str], str]] = [
    ({"agent-inject": "yes"}, "error checking if should inject agent: "),
    *(
        ({name: "perhaps", **DB}, f"{NEW}vault.hashicorp.com/{name}: 'perhaps' is not a bool")
        for name in (
            "error-on-missing-key-db",
            "agent-inject-token",
            "agent-init-first",
            "agent-pre-populate",
            "agent-pre-populate-only",
            "agent-revoke-on-shutdown",
            "agent-run-as-same-user",
            "agent-set-security-context",
            "agent-share-process-namespace",
            "agent-auto-auth-exit-on-err",
            "tls-skip-verify",
            "agent-cache-enable",
            "agent-cache-exit-on-err",
            "agent-enable-quit",
            "template-config-exit-on-retry-failure",
        )
    ),
    ({"agent-inject-default-template": "YAML"}, NEW + "invalid default template type: yaml"),
    ({"agent-revoke-grace": "-1"}, NEW + "vault.hashicorp.com/agent-revoke-grace: "),
    ({"agent-revoke-grace": ""}, NEW + "vault.hashicorp.com/agent-revoke-grace: "),
    ({"agent-run-as-user": "root"}, NEW + "vault.hashicorp.com/agent-run-as-user: "),
    ({"agent-run-as-group": "1.5"}, NEW + "vault.hashicorp.com/agent-run-as-group: "),
    ({"agent-run-as-same-user": "true"}, NEW + "No SecurityContext found for Container 0"),
    (
        {"agent-service-account-token-volume-name": "none"},
        NEW + 'failed to find service account volume "none"',
    ),
    ({"template-max-connections-per-host": "x"}, NEW),
    ({"template-lease-renewal-threshold": "half"}, NEW),
    ({"template-lease-renewal-threshold": "NaN"}, PATCH + "json: unsupported value: NaN"),
    ({"template-lease-renewal-threshold": "-inf"}, PATCH + "json: unsupported value: -Inf"),
    ({"template-lease-renewal-threshold": ""}, NEW),
    ({"auth-min-backoff": "5"}, DEFAULTS + "error parsing min backoff as duration: "),
    ({"auth-max-backoff": "soon"}, DEFAULTS + "error parsing max backoff as duration: "),
    (
        {"agent-json-patch": "{"},
        DEFAULTS + "error parsing JSON patch for annotation vault.hashicorp.com/agent-json-patch",
    ),
    ({"agent-init-json-patch": '[{"op": "spin"}]'}, PATCH + "failed to apply JSON patch: "),
    ({"agent-json-patch": '[{"op": "remove", "path": "/nothing"}]'}, PATCH),
    (
        {"agent-json-patch": '[{"op": "replace", "path": "/args", "value": 5}]'},
        PATCH + "json: cannot unmarshal number into Go struct field Container.args",
    ),
    (
        {"agent-init-json-patch": '[{"op": "replace", "path": "", "value": []}]'},
        PATCH + "json: cannot unmarshal array into Go value of type v1.Container",
    ),
    *(
        ({name: bad}, f"{PATCH}vault.hashicorp.com/{name}: {why}")
        for name in ("agent-limits-cpu", "agent-requests-mem", "agent-limits-ephemeral")
        for bad, why in (("lots", REGEX), ("5kk", "unable to parse quantity's suffix"))
    ),
    ({"agent-limits-mem": "5foo"}, PATCH),
    ({"agent-requests-cpu": "1..2"}, PATCH),
    ({"agent-requests-ephemeral": "."}, PATCH),
    ({"role": ""}, VALID + "no Vault role found"),
    ({"agent-image": ""}, VALID + "no Vault image found"),
    ({"auth-type": ""}, VALID + "no Vault Auth Type found"),
    ({"auth-path": ""}, VALID + "no Vault Auth Path found"),
    ({"service": ""}, VALID + "no Vault address found"),
    ({"agent-request-namespace": ""}, VALID + "namespace missing from request"),
]


def test_every_annotation_has_a_row() -> None:
    assert {row.name for row in ROWS} == set(ANNOTATIONS)
    assert len(ROWS) == len(ANNOTATIONS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_annotation(row: Row) -> None:
    before = inject(row.asking(), pod=a_pod(**row.spec))
    assert before.allowed, before.message
    assert row.probe(before) == row.default
    after = inject(row.asking() | row.given, pod=a_pod(**row.spec))
    assert after.allowed, after.message
    assert row.probe(after) == row.changed


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_pod_stays_acceptable(row: Row) -> None:
    result = inject(row.asking() | row.given, pod=a_pod(**row.spec))
    assert_acceptable(result.pod)
    assert V1Pod.from_dict(result.pod) is not None


@pytest.mark.parametrize(
    ("given", "message"), REFUSED, ids=[json.dumps(given) for given, _ in REFUSED]
)
def test_refusal(given: dict[str, str], message: str) -> None:
    result = inject(ASKING | given)
    assert not result.allowed
    assert result.message.startswith(message), result.message
    assert result.patch == []


def test_every_annotation_that_is_parsed_can_be_refused() -> None:
    parsed = {name for name, about in ANNOTATIONS.items() if about.endswith("(bool)")}
    # Upstream reads these two without complaint: what is no bool is false.
    parsed -= {"preserve-secret-case", "preserve-secret-case-"}
    refused = {name for given, _ in REFUSED for name in given}
    assert {name for name in parsed if not any(each.startswith(name) for each in refused)} == set()
