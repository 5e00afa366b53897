"""What an injector is started with: flags and AGENT_INJECT_* variables.

A variable that is set and not empty wins over the flag, as it does upstream. Values that
the injector itself uses are checked here, so that a wrong one stops the start and not a pod.
Source: hashicorp/vault-k8s v1.7.6, subcommand/injector/flags.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from standins.common import values
from standins.common.flags import BadFlag, boolean, flag
from standins.common.flags import read as read_flags

DEFAULT_IMAGE = "hashicorp/vault:2.0.4"


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


def _listen(text: str) -> str:
    if not 0 <= values.parse_uint(text.rpartition(":")[2]) <= 65535:
        raise ValueError(f"{text!r} is not host:port")
    return text


def _setting(
    name: str, default: Any, about: str, parse: Callable[[str], Any] = str, *, variable: str = ""
) -> Any:
    variable = variable or name.upper().replace("-", "_")
    return flag(name, default, about, parse, variable=f"AGENT_INJECT_{variable}")


_level = _one_of("trace", "debug", "notice", "info", "warn", "warning", "err", "error")


@dataclass(frozen=True)
class Settings:
    """All settings of one injector. Times are Go durations in text."""

    listen: str = _setting("listen", ":8080", "host:port to serve on", _listen)
    log_level: str = _setting("log-level", "info", "how much to log", _level)
    log_format: str = _setting(
        "log-format", "standard", "standard or json", _one_of("standard", "json")
    )
    telemetry_path: str = _setting("telemetry-path", "", "path of the metrics; none when empty")
    tls_auto: str = _setting("tls-auto", "", "MutatingWebhookConfiguration to keep the CA in")
    tls_auto_hosts: str = _setting("tls-auto-hosts", "", "names in the certificate, comma list")
    tls_ca_cert_file: str = _setting("tls-ca-cert-file", "", "CA to publish")
    tls_cert_file: str = _setting("tls-cert-file", "", "certificate to serve")
    tls_key_file: str = _setting("tls-key-file", "", "its key")
    tls_min_version: str = _setting(
        "tls-min-version",
        "tls12",
        "lowest TLS version",
        _one_of("tls10", "tls11", "tls12", "tls13"),
    )
    tls_cipher_suites: str = _setting("tls-cipher-suites", "", "suites below TLS 1.3, comma list")
    use_leader_elector: bool = _setting(
        "use-leader-elector", False, "several replicas, one makes CAs", boolean
    )
    vault_image: str = _setting("vault-image", DEFAULT_IMAGE, "agent image")
    vault_addr: str = _setting("vault-address", "", "Vault's address", variable="VAULT_ADDR")
    vault_cacert_bytes: str = _setting("vault-cacert-bytes", "", "Vault's CA, PEM or base64 of PEM")
    vault_auth_type: str = _setting("vault-auth-type", "kubernetes", "auth method")
    vault_auth_path: str = _setting("vault-auth-path", "auth/kubernetes", "its mount path")
    vault_namespace: str = _setting("vault-namespace", "", "namespace")
    proxy_address: str = _setting("proxy-address", "", "proxy to Vault", variable="PROXY_ADDR")
    revoke_on_shutdown: bool = _setting(
        "revoke-on-shutdown", False, "revoke tokens of ending pods", boolean
    )
    run_as_user: str = _setting("run-as-user", "100", "agent's uid")
    run_as_group: str = _setting("run-as-group", "1000", "agent's gid")
    run_as_same_user: bool = _setting(
        "run-as-same-user", False, "uid of the first container", boolean
    )
    set_security_context: bool = _setting(
        "set-security-context", True, "securityContext on agents", boolean
    )
    default_template: str = _setting(
        "default-template", "map", "map or json", _one_of("map", "json")
    )
    cpu_request: str = _setting("cpu-request", "250m", "of agents")
    mem_request: str = _setting("memory-request", "64Mi", "of agents", variable="MEM_REQUEST")
    ephemeral_request: str = _setting(
        "ephemeral-storage-request", "", "of agents", variable="EPHEMERAL_REQUEST"
    )
    cpu_limit: str = _setting("cpu-limit", "500m", "of agents")
    mem_limit: str = _setting("memory-limit", "128Mi", "of agents", variable="MEM_LIMIT")
    ephemeral_limit: str = _setting(
        "ephemeral-storage-limit", "", "of agents", variable="EPHEMERAL_LIMIT"
    )
    exit_on_retry_failure: bool = _setting(
        "template-config-exit-on-retry-failure",
        True,
        "agents give up when rendering keeps failing",
        boolean,
    )
    static_secret_render_interval: str = _setting(
        "template-static-secret-render-interval", "", "how often KV secrets are read again"
    )
    max_connections_per_host: int = _setting(
        "template-max-connections-per-host",
        0,
        "connections to Vault for templates",
        values.parse_int,
    )
    lease_renewal_threshold: float = _setting(
        "template-lease-renewal-threshold",
        0.0,
        "read and not used, as upstream: only the annotation works",
        values.parse_float,
    )
    auth_min_backoff: str = _setting(
        "auth-min-backoff", "", "shortest wait for login", _duration_or_empty
    )
    auth_max_backoff: str = _setting(
        "auth-max-backoff", "", "longest wait for login", _duration_or_empty
    )
    disable_idle_connections: str = _setting("disable-idle-connections", "", "comma list")
    disable_keep_alives: str = _setting("disable-keep-alives", "", "comma list")


def read(arguments: Sequence[str], env: Mapping[str, str]) -> Settings:
    """Settings from flags and variables. Raises BadFlag naming the bad one."""
    program = "python -m standins.injector agent-inject"
    found = read_flags(Settings, program, arguments, env, variables_first=True)
    if not found.vault_addr:
        raise BadFlag(
            "-vault-address (AGENT_INJECT_VAULT_ADDR): no Vault server address configured"
        )
    return found
