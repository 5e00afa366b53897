"""The command line. Each flag is checked before anything starts, down to the files it names."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from standins.common import values
from standins.common.connection import UNIX, Connection, tls_context
from standins.common.flags import BadFlag, flag
from standins.common.logs import LEVELS
from standins.common.serving import LONGEST_SOCKET
from standins.kms_plugin.login import read_id

PROGRAM = "kms_plugin"

_MOUNT = r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*"
_KEY = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
SHORTEST, LONGEST = 0.1, 60.0
# With the version behind it a key ID has to stay below 1 KiB.
LONGEST_NAME = 128


def _socket(text: str) -> str:
    path = text.removeprefix(UNIX)
    if path == text or not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError("it is not unix:///folder/name")
    if len(path.encode()) > LONGEST_SOCKET:
        raise ValueError(f"it is longer than the {LONGEST_SOCKET} bytes of a socket's path")
    return path


def _address(text: str) -> str:
    problem = ValueError("it is not https://host:port (http only to this machine itself)")
    try:
        url = urlsplit(text)
        port, host = url.port, url.hostname or ""
    except ValueError:
        raise problem from None
    extra = url.path.rstrip("/") or url.query or url.fragment or "@" in url.netloc
    if not host or not port or extra or not text.isprintable() or " " in text:
        raise problem
    if url.scheme == "https" or (url.scheme == "http" and _loopback(host)):
        return text
    raise problem


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _ca_file(text: str) -> str:
    if text:
        tls_context(Connection(ca_file=text))
    return text


def _id_file(text: str) -> str:
    if not text:
        raise ValueError("it names no file")
    read_id(text)
    return text


def _like(pattern: str, example: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text) or len(text) > LONGEST_NAME:
            raise ValueError(f"it is not a name like {example}")
        return text

    return parse


def _host_and_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if text and not (host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError("it is not host:port")
    return text


def _timeout(text: str) -> float:
    try:
        seconds = values.parse_duration(text)
    except ValueError:
        seconds = 0.0
    if not SHORTEST <= seconds <= LONGEST:
        raise ValueError('it is not a time from 100ms to 1m, like "2s"')
    return seconds


def _level(text: str) -> str:
    if text not in LEVELS:
        raise ValueError(f"it is not one of {', '.join(LEVELS)}")
    return text


@dataclass(frozen=True)
class Flags:
    """The settings of one plugin process. Files are named here, their content is not."""

    socket: str = flag("listen", ..., "the socket to serve on, unix:///folder/name", _socket)
    vault_addr: str = flag("vault-addr", ..., "Vault's address, https://host:port", _address)
    transit_mount: str = flag(
        "transit-mount", ..., "where Transit is mounted", _like(_MOUNT, "lab06-transit")
    )
    key_name: str = flag("key-name", ..., "Transit's key", _like(_KEY, "kubernetes"))
    approle_mount: str = flag(
        "approle-mount",
        ...,
        "where AppRole is mounted, below auth/",
        _like(_MOUNT, "lab06-approle"),
    )
    role_id_file: str = flag("role-id-file", ..., "file with the role ID", _id_file)
    secret_id_file: str = flag("secret-id-file", ..., "file with the secret ID", _id_file)
    vault_ca_file: str = flag(
        "vault-ca-file", "", "PEM file with the CA of Vault's certificate", _ca_file
    )
    vault_server_name: str = flag(
        "vault-server-name",
        "",
        "name in Vault's certificate, if not the host's",
        _like(f"(?:{_NAME})?", "vault.vault.svc"),
    )
    health_listen: str = flag(
        "health-listen",
        "",
        "where /healthz and /livez are served, host:port; nowhere if empty",
        _host_and_port,
    )
    timeout: float = flag(
        "timeout", 2.0, "limit for each call; below kube-apiserver's own, 3s by default", _timeout
    )
    log_level: str = flag("log-level", "info", "debug, info, warn, error or off", _level)

    def __post_init__(self) -> None:
        if self.vault_addr.startswith("https:") and not self.vault_ca_file:
            raise BadFlag("-vault-ca-file is missing: https needs the CA of Vault's certificate")
