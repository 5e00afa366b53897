"""What an injector is started with: flags and AGENT_INJECT_* variables.

One table gives each setting its flag, its variable and its default; a variable that is
set and not empty wins over the flag, as it does upstream. Values that the injector
itself uses are checked here, so that a wrong one stops the start and not a pod.
Source: hashicorp/vault-k8s v1.7.6, subcommand/injector/flags.go.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from standins.common import values

DEFAULT_IMAGE = "hashicorp/vault:2.0.4"


class SettingError(ValueError):
    """A flag or a variable has a value that cannot be used."""


def _duration_or_empty(text: str) -> str:
    if text:
        values.parse_duration(text)
    return text


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip().lower() not in allowed:
            raise ValueError(f"{text!r} is none of {', '.join(allowed)}")
        return text.strip().lower()

    return parse


def _required(text: str) -> str:
    if not text:
        raise ValueError("no Vault server address configured")
    return text


def _listen(text: str) -> str:
    if not 0 <= values.parse_uint(text.rpartition(":")[2]) <= 65535:
        raise ValueError(f"{text!r} is not host:port")
    return text


def _setting(
    flag: str, env: str, default: Any, parse: Callable[[str], Any] = str, about: str = ""
) -> Any:
    return field(
        default=default, metadata={"flag": flag, "env": env, "parse": parse, "about": about}
    )


_bool = values.parse_bool
_level = _one_of("trace", "debug", "notice", "info", "warn", "warning", "err", "error")


@dataclass(frozen=True)
class Settings:
    """All settings of one injector. Times are Go durations in text."""

    listen: str = _setting("listen", "LISTEN", ":8080", _listen, "host:port to serve on")
    log_level: str = _setting("log-level", "LOG_LEVEL", "info", _level, "how much to log")
    log_format: str = _setting(
        "log-format", "LOG_FORMAT", "standard", _one_of("standard", "json"), "standard or json"
    )
    telemetry_path: str = _setting(
        "telemetry-path", "TELEMETRY_PATH", "", about="path of the metrics; none when empty"
    )
    tls_auto: str = _setting(
        "tls-auto", "TLS_AUTO", "", about="MutatingWebhookConfiguration to keep the CA in"
    )
    tls_auto_hosts: str = _setting(
        "tls-auto-hosts", "TLS_AUTO_HOSTS", "", about="names in the certificate, comma list"
    )
    tls_ca_cert_file: str = _setting(
        "tls-ca-cert-file", "TLS_CA_CERT_FILE", "", about="CA to publish"
    )
    tls_cert_file: str = _setting(
        "tls-cert-file", "TLS_CERT_FILE", "", about="certificate to serve"
    )
    tls_key_file: str = _setting("tls-key-file", "TLS_KEY_FILE", "", about="its key")
    tls_min_version: str = _setting(
        "tls-min-version",
        "TLS_MIN_VERSION",
        "tls12",
        _one_of("tls10", "tls11", "tls12", "tls13"),
        "lowest TLS version",
    )
    tls_cipher_suites: str = _setting(
        "tls-cipher-suites", "TLS_CIPHER_SUITES", "", about="suites below TLS 1.3, comma list"
    )
    use_leader_elector: bool = _setting(
        "use-leader-elector", "USE_LEADER_ELECTOR", False, _bool, "several replicas, one makes CAs"
    )
    vault_image: str = _setting("vault-image", "VAULT_IMAGE", DEFAULT_IMAGE, about="agent image")
    vault_addr: str = _setting("vault-address", "VAULT_ADDR", "", _required, "Vault's address")
    vault_cacert_bytes: str = _setting(
        "vault-cacert-bytes", "VAULT_CACERT_BYTES", "", about="Vault's CA, PEM or base64 of PEM"
    )
    vault_auth_type: str = _setting(
        "vault-auth-type", "VAULT_AUTH_TYPE", "kubernetes", about="auth method"
    )
    vault_auth_path: str = _setting(
        "vault-auth-path", "VAULT_AUTH_PATH", "auth/kubernetes", about="its mount path"
    )
    vault_namespace: str = _setting("vault-namespace", "VAULT_NAMESPACE", "", about="namespace")
    proxy_address: str = _setting("proxy-address", "PROXY_ADDR", "", about="proxy to Vault")
    revoke_on_shutdown: bool = _setting(
        "revoke-on-shutdown", "REVOKE_ON_SHUTDOWN", False, _bool, "revoke tokens of ending pods"
    )
    run_as_user: str = _setting("run-as-user", "RUN_AS_USER", "100", about="agent's uid")
    run_as_group: str = _setting("run-as-group", "RUN_AS_GROUP", "1000", about="agent's gid")
    run_as_same_user: bool = _setting(
        "run-as-same-user", "RUN_AS_SAME_USER", False, _bool, "uid of the first container"
    )
    set_security_context: bool = _setting(
        "set-security-context", "SET_SECURITY_CONTEXT", True, _bool, "securityContext on agents"
    )
    default_template: str = _setting(
        "default-template", "DEFAULT_TEMPLATE", "map", _one_of("map", "json"), "map or json"
    )
    cpu_request: str = _setting("cpu-request", "CPU_REQUEST", "250m", about="of agents")
    mem_request: str = _setting("memory-request", "MEM_REQUEST", "64Mi", about="of agents")
    ephemeral_request: str = _setting(
        "ephemeral-storage-request", "EPHEMERAL_REQUEST", "", about="of agents"
    )
    cpu_limit: str = _setting("cpu-limit", "CPU_LIMIT", "500m", about="of agents")
    mem_limit: str = _setting("memory-limit", "MEM_LIMIT", "128Mi", about="of agents")
    ephemeral_limit: str = _setting(
        "ephemeral-storage-limit", "EPHEMERAL_LIMIT", "", about="of agents"
    )
    exit_on_retry_failure: bool = _setting(
        "template-config-exit-on-retry-failure",
        "TEMPLATE_CONFIG_EXIT_ON_RETRY_FAILURE",
        True,
        _bool,
        "agents give up when rendering keeps failing",
    )
    static_secret_render_interval: str = _setting(
        "template-static-secret-render-interval",
        "TEMPLATE_STATIC_SECRET_RENDER_INTERVAL",
        "",
        about="how often KV secrets are read again",
    )
    max_connections_per_host: int = _setting(
        "template-max-connections-per-host",
        "TEMPLATE_MAX_CONNECTIONS_PER_HOST",
        0,
        values.parse_int,
        "connections to Vault for templates",
    )
    lease_renewal_threshold: float = _setting(
        "template-lease-renewal-threshold",
        "TEMPLATE_LEASE_RENEWAL_THRESHOLD",
        0.0,
        values.parse_float,
        "read and not used, as upstream: only the annotation works",
    )
    auth_min_backoff: str = _setting(
        "auth-min-backoff", "AUTH_MIN_BACKOFF", "", _duration_or_empty, "shortest wait for login"
    )
    auth_max_backoff: str = _setting(
        "auth-max-backoff", "AUTH_MAX_BACKOFF", "", _duration_or_empty, "longest wait for login"
    )
    disable_idle_connections: str = _setting(
        "disable-idle-connections", "DISABLE_IDLE_CONNECTIONS", "", about="comma list"
    )
    disable_keep_alives: str = _setting(
        "disable-keep-alives", "DISABLE_KEEP_ALIVES", "", about="comma list"
    )


def read(arguments: Sequence[str], env: Mapping[str, str]) -> Settings:
    """Settings from flags and variables. Raises SettingError naming the bad one."""
    parser = argparse.ArgumentParser(
        prog="python -m standins.injector agent-inject", allow_abbrev=False
    )
    for each in fields(Settings):
        flag, about = each.metadata["flag"], each.metadata["about"]
        # A Go bool flag may stand alone.
        alone: dict[str, Any] = {}
        if each.metadata["parse"] is _bool:
            alone = {"nargs": "?", "const": "true"}
        parser.add_argument(
            f"-{flag}",
            f"--{flag}",
            dest=each.name,
            metavar="VALUE",
            help=f"{about} (AGENT_INJECT_{each.metadata['env']})",
            **alone,
        )
    given = vars(parser.parse_args(arguments))
    chosen: dict[str, Any] = {}
    for each in fields(Settings):
        variable = f"AGENT_INJECT_{each.metadata['env']}"
        text = env.get(variable) or given[each.name]
        if text is None:
            if each.metadata["parse"] is not _required:
                continue
            text = ""
        source = variable if env.get(variable) else f"-{each.metadata['flag']}"
        try:
            chosen[each.name] = each.metadata["parse"](text)
        except ValueError as error:
            raise SettingError(f"{source} ({variable}): {error}") from error
    return Settings(**chosen)
