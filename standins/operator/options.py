"""Flags and the VSO_* variables that mirror them, with upstream's names and defaults.

A flag wins over its variable. What upstream has and the stand-in does not cover is refused
with a sentence, never ignored: a lab must not believe in an encrypted cache that is not there.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from standins.operator.timing import parse_duration

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
EXCLUDE_RAW = "exclude-raw"
ALLOW_DEFAULT_GLOBALS = "allow-default-globals"


class BadOption(Exception):
    """A flag or variable that cannot be honoured."""


@dataclass(frozen=True)
class Options:
    """How this operator runs. Durations are seconds."""

    namespace: str
    pod_name: str
    pod_uid: str
    probe_port: int
    metrics_port: int
    leader_elect: bool
    workers: int
    workers_dynamic: int
    exclude_raw: bool
    allow_default_globals: bool
    backoff_initial: float
    backoff_most: float
    backoff_factor: float
    backoff_spread: float
    lease_grace: float
    log_level: str
    kubeconfig: str
    uninstall: bool


# flag -> (default, help)
_FLAGS = {
    "health-probe-bind-address": (":8081", "address of /healthz and /readyz"),
    "metrics-bind-address": (":8080", "address of /metrics; 0 for none"),
    "leader-elect": ("true", "take a Lease before working"),
    "max-concurrent-reconciles": ("32", "workers for each kind"),
    "max-concurrent-reconciles-vds": ("32", "workers for VaultDynamicSecrets"),
    "client-cache-persistence-model": ("none", "only none is covered"),
    "global-transformation-options": ("", "exclude-raw, or nothing"),
    "global-vault-auth-options": (ALLOW_DEFAULT_GLOBALS, "allow-default-globals, or nothing"),
    "backoff-initial-interval": ("5s", "first wait after an error of Vault"),
    "backoff-max-interval": ("60s", "longest such wait"),
    "backoff-multiplier": ("1.5", "growth of the wait"),
    "backoff-randomization-factor": ("0.5", "spread of the wait"),
    "superseded-lease-grace": (
        "2m",
        "stand-in only: how long replaced leases and tokens live on for those who use them",
    ),
    "log-level": ("info", "debug, info, warning or error"),
    "kubeconfig": ("", "for runs outside a cluster"),
}


def _port(text: str, flag: str) -> int:
    tail = text.rpartition(":")[2]
    if not tail.isdigit() or int(tail) > 65535:
        raise BadOption(f"--{flag}: {text!r} ends in no port number")
    return int(tail)


def _variable(flag: str) -> str:
    return "VSO_" + flag.upper().replace("-", "_")


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Options of the flags `argv` and the environment. BadOption says what is wrong."""
    parser = argparse.ArgumentParser(prog="operator", description=__doc__.splitlines()[0])
    for flag, (default, text) in _FLAGS.items():
        parser.add_argument(
            f"--{flag}",
            default=environ.get(_variable(flag), default),
            nargs="?" if flag == "leader-elect" else None,
            const="true" if flag == "leader-elect" else None,
            help=f"{text} (default {default or 'empty'!s}; {_variable(flag)})",
        )
    parser.add_argument("--uninstall", action="store_true", help="remove finalizers and end")
    found = vars(parser.parse_args(argv))
    value = {flag: str(found[flag.replace("-", "_")]) for flag in _FLAGS}
    if value["client-cache-persistence-model"] != "none":
        raise BadOption(
            "--client-cache-persistence-model: the stand-in keeps tokens in memory only (none)"
        )
    _known(value, "global-transformation-options", EXCLUDE_RAW)
    _known(value, "global-vault-auth-options", ALLOW_DEFAULT_GLOBALS)
    try:
        return Options(
            namespace=environ.get("OPERATOR_NAMESPACE") or _own_namespace(),
            pod_name=environ.get("OPERATOR_POD_NAME", ""),
            pod_uid=environ.get("OPERATOR_POD_UID", ""),
            probe_port=_port(value["health-probe-bind-address"], "health-probe-bind-address"),
            metrics_port=_port(value["metrics-bind-address"], "metrics-bind-address"),
            leader_elect=value["leader-elect"].lower() == "true",
            workers=int(value["max-concurrent-reconciles"]),
            workers_dynamic=int(value["max-concurrent-reconciles-vds"]),
            exclude_raw=value["global-transformation-options"] == EXCLUDE_RAW,
            allow_default_globals=value["global-vault-auth-options"] == ALLOW_DEFAULT_GLOBALS,
            backoff_initial=parse_duration(value["backoff-initial-interval"]),
            backoff_most=parse_duration(value["backoff-max-interval"]),
            backoff_factor=float(value["backoff-multiplier"]),
            backoff_spread=float(value["backoff-randomization-factor"]),
            lease_grace=parse_duration(value["superseded-lease-grace"]),
            log_level=value["log-level"].upper(),
            kubeconfig=value["kubeconfig"],
            uninstall=bool(found["uninstall"]),
        )
    except ValueError as error:
        raise BadOption(str(error)) from error


def _known(value: Mapping[str, str], flag: str, only: str) -> None:
    if value[flag] not in ("", only):
        raise BadOption(f"--{flag}: {value[flag]!r} is not known (only {only})")


def _own_namespace() -> str:
    try:
        return _NAMESPACE_FILE.read_text().strip()
    except OSError:
        return "default"
