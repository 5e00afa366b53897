"""Flags and the VSO_* variables that mirror them, with upstream's names and defaults.

A flag wins over its variable. What upstream has and the stand-in does not cover is refused
with a sentence, never ignored: a lab must not believe in an encrypted cache that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from standins.common.account import ACCOUNT
from standins.common.flags import boolean, flag, integer
from standins.common.flags import read as read_flags
from standins.common.values import parse_duration

EXCLUDE_RAW = "exclude-raw"
ALLOW_DEFAULT_GLOBALS = "allow-default-globals"


def _option(name: str, default: Any, about: str, parse: Callable[[str], Any] = str) -> Any:
    variable = "VSO_" + name.upper().replace("-", "_")
    return flag(name, default, about, parse, variable=variable)


def _port(text: str) -> int:
    tail = text.rpartition(":")[2]
    if not tail.isdigit() or int(tail) > 65535:
        raise ValueError("it ends in no port number")
    return int(tail)


def _only(word: str) -> Callable[[str], bool]:
    """Whether this one word was given; nothing else is known."""

    def parse(text: str) -> bool:
        if text not in ("", word):
            raise ValueError(f"it is not known (only {word})")
        return text == word

    return parse


def _no_cache(text: str) -> str:
    if text != "none":
        raise ValueError("the stand-in keeps tokens in memory only (none)")
    return text


@dataclass(frozen=True)
class Options:
    """How this operator runs. Durations are seconds."""

    probe_port: int = _option(
        "health-probe-bind-address", 8081, "address of /healthz and /readyz", _port
    )
    metrics_port: int = _option(
        "metrics-bind-address", 8080, "address of /metrics; 0 for none", _port
    )
    leader_elect: bool = _option("leader-elect", True, "take a Lease before working", boolean)
    workers: int = _option("max-concurrent-reconciles", 32, "workers for each kind", integer)
    workers_dynamic: int = _option(
        "max-concurrent-reconciles-vds", 32, "workers for VaultDynamicSecrets", integer
    )
    cache: str = _option("client-cache-persistence-model", "none", "only none", _no_cache)
    exclude_raw: bool = _option(
        "global-transformation-options", False, f"{EXCLUDE_RAW}, or nothing", _only(EXCLUDE_RAW)
    )
    allow_default_globals: bool = _option(
        "global-vault-auth-options",
        True,
        f"{ALLOW_DEFAULT_GLOBALS}, or nothing",
        _only(ALLOW_DEFAULT_GLOBALS),
    )
    backoff_initial: float = _option(
        "backoff-initial-interval", 5.0, "first wait after an error of Vault", parse_duration
    )
    backoff_most: float = _option("backoff-max-interval", 60.0, "longest such wait", parse_duration)
    backoff_factor: float = _option("backoff-multiplier", 1.5, "growth of the wait", float)
    backoff_spread: float = _option(
        "backoff-randomization-factor", 0.5, "spread of the wait", float
    )
    lease_grace: float = _option(
        "superseded-lease-grace",
        120.0,
        "stand-in only: how long replaced leases and tokens live on for those who use them",
        parse_duration,
    )
    log_level: str = _option("log-level", "info", "debug, info, warning or error")
    kubeconfig: str = _option("kubeconfig", "", "for runs outside a cluster")
    uninstall: bool = _option("uninstall", False, "remove finalizers and end", boolean)
    namespace: str = "default"
    pod_name: str = ""
    pod_uid: str = ""


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Options of the flags and the environment. BadFlag says what is wrong."""
    return replace(
        read_flags(Options, "operator", arguments, environment),
        namespace=environment.get("OPERATOR_NAMESPACE") or _own_namespace(),
        pod_name=environment.get("OPERATOR_POD_NAME", ""),
        pod_uid=environment.get("OPERATOR_POD_UID", ""),
    )


def _own_namespace() -> str:
    try:
        return (ACCOUNT / "namespace").read_text("ascii").strip()
    except OSError:
        return Options.namespace
