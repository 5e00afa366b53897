"""The command line. Each flag is checked before anything starts, down to the files it names."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

from standins.common.logs import LEVELS
from standins.common.serving import LONGEST_SOCKET
from standins.kms_plugin.login import read_id
from standins.kms_plugin.vault import trusting

PROGRAM = "kms_plugin"

_MOUNT = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_KEY = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_DURATION = re.compile(r"([0-9]{1,5})(ms|s|m)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
SHORTEST, LONGEST = 0.1, 60.0
# With the version behind it a key ID has to stay below 1 KiB.
LONGEST_NAME = 128


@dataclass(frozen=True)
class Flags:
    """The settings of one plugin process. Files are named here, their content is not."""

    socket: str
    vault_addr: str
    vault_ca_file: str
    vault_server_name: str
    transit_mount: str
    key_name: str
    approle_mount: str
    role_id_file: str
    secret_id_file: str
    health_listen: str
    timeout: float
    log_level: str


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{PROGRAM}: {message}; --help lists the flags\n")


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Read the command line; wrong words end the process with status 2."""
    parser = _Parser(prog=f"python -m standins.{PROGRAM}", allow_abbrev=False, description=__doc__)

    def flag(name: str, default: str | None, about: str) -> None:
        parser.add_argument(
            f"--{name}", default=default, required=default is None, metavar="X", help=about
        )

    flag("listen", None, "the socket to serve on, unix:///folder/name")
    flag("vault-addr", None, "Vault's address, https://host:port")
    flag("vault-ca-file", "", "PEM file with the CA of Vault's certificate")
    flag("vault-server-name", "", "name in Vault's certificate, if not the host's")
    flag("transit-mount", None, "where Transit is mounted")
    flag("key-name", None, "Transit's key")
    flag("approle-mount", None, "where AppRole is mounted, below auth/")
    flag("role-id-file", None, "file with the role ID")
    flag("secret-id-file", None, "file with the secret ID")
    flag("health-listen", "", "where /healthz and /livez are served, host:port; nowhere if empty")
    flag("timeout", "2s", "limit for each call; below kube-apiserver's own, 3s by default")
    flag("log-level", "info", "debug, info, warn, error or off")
    read = vars(parser.parse_args(list(arguments)))
    try:
        return _checked(read)
    except ValueError as error:
        parser.error(str(error))


def _checked(read: dict[str, str]) -> Flags:
    """The flags with their values converted. Raises ValueError that names the flag."""
    secure = _address(read["vault_addr"])
    if secure and not read["vault_ca_file"]:
        raise ValueError("--vault-ca-file is missing: https needs the CA of Vault's certificate")
    for name, check in (("vault_ca_file", trusting), ("role_id_file", read_id),
                        ("secret_id_file", read_id)):  # fmt: skip
        if read[name]:
            try:
                check(read[name])
            except ValueError as error:
                raise ValueError(f"--{name.replace('_', '-')}: {error}") from None
        elif name != "vault_ca_file":
            raise ValueError(f"--{name.replace('_', '-')} is empty: it names a file")
    for name, pattern, example in (
        ("transit_mount", _MOUNT, "lab00-transit"),
        ("key_name", _KEY, "kubernetes"),
        ("approle_mount", _MOUNT, "lab00-approle"),
        ("vault_server_name", _NAME, "vault.vault.svc"),
    ):
        optional = name == "vault_server_name" and not read[name]
        if not optional and not (pattern.fullmatch(read[name]) and len(read[name]) <= LONGEST_NAME):
            raise ValueError(
                f"--{name.replace('_', '-')} {read[name]!r} is not a name like {example}"
            )
    if read["health_listen"]:
        _host_and_port(read["health_listen"])
    if read["log_level"] not in LEVELS:
        raise ValueError(f"--log-level {read['log_level']!r} is not one of {', '.join(LEVELS)}")
    return Flags(
        socket=_socket(read["listen"]),
        timeout=_duration(read["timeout"]),
        **{name: read[name] for name in read if name not in ("listen", "timeout")},
    )


def _socket(text: str) -> str:
    path = text.removeprefix("unix://")
    if path == text or not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError(f"--listen {text!r} is not unix:///folder/name")
    if len(path.encode()) > LONGEST_SOCKET:
        raise ValueError(f"--listen is longer than the {LONGEST_SOCKET} bytes of a socket's path")
    return path


def _address(text: str) -> bool:
    """Whether the address is a secure one. Raises ValueError for what is none."""
    problem = ValueError(
        f"--vault-addr {text!r} is not https://host:port (http only to this machine itself)"
    )
    try:
        url = urlsplit(text)
        port, host = url.port, url.hostname or ""
    except ValueError:
        raise problem from None
    extra = url.path.rstrip("/") or url.query or url.fragment or "@" in url.netloc
    if not host or not port or extra or not text.isprintable() or " " in text:
        raise problem
    if url.scheme == "https" or (url.scheme == "http" and _loopback(host)):
        return url.scheme == "https"
    raise problem


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host_and_port(text: str) -> None:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f"--health-listen {text!r} is not host:port")


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not SHORTEST <= seconds <= LONGEST:
        raise ValueError(f'--timeout {text!r} is not a time from 100ms to 1m, like "2s"')
    return seconds
