"""Where a Vault is and how to trust it: its address as a URL, and TLS contexts.

Contexts are shared by all requests with the same settings. They are built again when a file
behind them changes, so that a renewed CA needs no restart.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from yarl import URL

UNIX = "unix://"


class BadConnection(ValueError):
    """The settings of a connection cannot be used; `str()` says which and why."""


@dataclass(frozen=True)
class Connection:
    """How to reach a Vault; an empty field is a setting that is not made."""

    address: str = ""
    namespace: str = ""
    ca_file: str = ""
    ca_folder: str = ""
    ca_pem: str = ""
    server_name: str = ""
    client_cert: str = ""
    client_key: str = ""
    skip_verify: bool = False
    headers: tuple[tuple[str, str], ...] = ()


def base_url(address: str) -> URL:
    """The address as a URL without its path's trailing slash. Raises BadConnection."""
    if address.startswith(UNIX):
        # The host only fills the Host header; the transport opens the socket.
        return URL("http://localhost")
    try:
        url = URL(address)
        if url.scheme in ("http", "https") and url.host and url.port:
            return url.with_user(None).with_query(None).with_fragment(None)
    except (ValueError, UnicodeError):
        pass  # reported below, with what would have been right
    raise BadConnection(f"Vault address {address!r} is not http://host:port or https://host:port")


def tls_context(connection: Connection) -> ssl.SSLContext:
    """How to check Vault's certificate, and with which of ours. Raises BadConnection."""
    files = _ca_files(connection)
    if connection.client_cert:
        files += (connection.client_cert, connection.client_key)
    neutral = replace(connection, address="", namespace="", headers=())
    return _context(neutral, tuple((name, file_stamp(name)) for name in files))


def file_stamp(name: str) -> tuple[int, int, int]:
    """Changes when the file does; all zero while it cannot be looked at."""
    try:
        found = os.stat(name)  # noqa: PTH116 - a Path object for each request is waste here
    except OSError:
        return (0, 0, 0)  # reading it says what is wrong
    return (found.st_mtime_ns, found.st_ino, found.st_size)


@lru_cache(maxsize=64)
def _context(
    connection: Connection, files: tuple[tuple[str, tuple[int, int, int]], ...]
) -> ssl.SSLContext:
    del files  # part of the key only: another stamp is another context
    own_ca = bool(connection.ca_file or connection.ca_pem or connection.ca_folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name in _ca_files(connection):
        try:
            context.load_verify_locations(cafile=name)
        except (OSError, ValueError) as error:
            raise BadConnection(f"Error loading CA File: {_reason(name, error)}") from None
    if connection.ca_pem and not connection.ca_file:
        try:
            context.load_verify_locations(cadata=connection.ca_pem)
        except (OSError, ValueError):
            raise BadConnection("Error appending CA: Couldn't parse PEM") from None
    if not own_ca:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if connection.client_cert:
        _load_pair(context, connection.client_cert, connection.client_key)
    if connection.skip_verify:
        # Asked for by name (vaultSkipTLSVerify, skipTLSVerify): part of the interface.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    for name in (cert, key):
        # load_cert_chain does not say which of the two it could not open.
        if not os.access(name, os.R_OK):
            raise BadConnection(f"open {name}: no such file or not readable")
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ValueError):
        raise BadConnection(f"{cert}, {key}: no certificate and its key") from None


def _ca_files(connection: Connection) -> tuple[str, ...]:
    if connection.ca_file:
        return (connection.ca_file,)
    if not connection.ca_folder or connection.ca_pem:
        return ()
    folder = Path(connection.ca_folder)
    try:
        # Kubernetes puts `..data` beside the files of a mounted ConfigMap or Secret.
        names = [file for file in sorted(folder.iterdir()) if not file.name.startswith("..")]
    except OSError as error:
        raise BadConnection(f"Error loading CA File: {_reason(str(folder), error)}") from None
    return tuple(str(file) for file in names if file.is_file())


def _reason(name: str, error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"{name}: no usable PEM in it"
    if isinstance(error, OSError) and error.strerror:
        return f"open {name}: {error.strerror.lower()}"
    return f"{name}: {type(error).__name__}"
