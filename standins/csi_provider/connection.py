"""Where Vault is and whom to trust, laid together from three layers.

The environment is lowest, the provider's flags are above it and the class's parameters
on top, each setting only what it names. A layer that names any CA replaces the CAs
below it. TLS contexts are shared by all clients with the same settings and made anew
when a file behind them changes, so that a renewed CA needs no restart.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, reduce
from pathlib import Path

from yarl import URL

from standins.csi_provider.errors import ConfigError
from standins.csi_provider.parameters import Connection, parse_bool

DEFAULT_ADDRESS = "https://127.0.0.1:8200"
UNIX = "unix://"


def from_environment(environment: Mapping[str, str]) -> Connection:
    """The lowest layer: Vault's own client variables. Raises ConfigError."""
    skip = environment.get("VAULT_SKIP_VERIFY", "")
    layer = Connection(
        address=environment.get("VAULT_ADDR", "") or DEFAULT_ADDRESS,
        namespace=environment.get("VAULT_NAMESPACE", ""),
        ca_file=environment.get("VAULT_CACERT", ""),
        ca_folder=environment.get("VAULT_CAPATH", ""),
        ca_pem=environment.get("VAULT_CACERT_BYTES", ""),
        server_name=environment.get("VAULT_TLS_SERVER_NAME", ""),
        client_cert=environment.get("VAULT_CLIENT_CERT", ""),
        client_key=environment.get("VAULT_CLIENT_KEY", ""),
        skip_verify=parse_bool(skip) if skip else False,
    )
    return layer


def overlay(*layers: Connection) -> Connection:
    """The layers as one, later ones on top. Raises ConfigError for half a key pair."""
    for layer in layers:
        if bool(layer.client_cert) != bool(layer.client_key):
            raise ConfigError("both client cert and client key must be provided")
    return reduce(_over, layers)


def _over(lower: Connection, upper: Connection) -> Connection:
    trust = upper if upper.ca_file or upper.ca_folder or upper.ca_pem else lower
    pair = upper if upper.client_cert else lower
    return replace(
        trust,
        address=upper.address or lower.address,
        namespace=upper.namespace or lower.namespace,
        server_name=upper.server_name or lower.server_name,
        client_cert=pair.client_cert,
        client_key=pair.client_key,
        # A layer can only switch verification off, never on again.
        skip_verify=upper.skip_verify or lower.skip_verify,
    )


def base_url(address: str) -> URL:
    """The address as a URL; requests go through it. Raises ConfigError."""
    if address.startswith(UNIX):
        # The host names the Host header only; the socket is the transport's business.
        return URL("http://localhost")
    try:
        url = URL(address)
        if url.scheme in ("http", "https") and url.host and url.port:
            return url.with_user(None).with_query(None).with_fragment(None)
    except (ValueError, UnicodeError):
        pass  # reported below, with what would have been right
    raise ConfigError(f"Vault address {address!r} is not http://host:port or https://host:port")


def tls_context(connection: Connection) -> ssl.SSLContext:
    """How to check Vault's certificate, and with which of ours. Raises ConfigError."""
    files = _ca_files(connection)
    if connection.client_cert:
        files += (connection.client_cert, connection.client_key)
    neutral = replace(connection, address="", namespace="")
    return _context(neutral, tuple((name, _stamp(name)) for name in files))


@lru_cache(maxsize=64)
def _context(
    connection: Connection, files: tuple[tuple[str, tuple[int, int]], ...]
) -> ssl.SSLContext:
    del files  # part of the key only: another stamp is another context
    own_ca = bool(connection.ca_file or connection.ca_pem or connection.ca_folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name in _ca_files(connection):
        try:
            context.load_verify_locations(cafile=name)
        except (OSError, ValueError) as error:
            raise ConfigError(f"Error loading CA File: {_reason(name, error)}") from None
    if connection.ca_pem and not connection.ca_file:
        try:
            context.load_verify_locations(cadata=connection.ca_pem)
        except (OSError, ValueError):
            raise ConfigError("Error appending CA: Couldn't parse PEM") from None
    if not own_ca:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if connection.client_cert:
        for name in (connection.client_cert, connection.client_key):
            # load_cert_chain does not say which of the two it could not open.
            if not os.access(name, os.R_OK):
                raise ConfigError(f"open {name}: no such file or not readable")
        try:
            context.load_cert_chain(connection.client_cert, connection.client_key)
        except (OSError, ValueError):
            raise ConfigError(
                f"{connection.client_cert}, {connection.client_key}: no certificate and its key"
            ) from None
    if connection.skip_verify:
        # Asked for by name, with vaultSkipTLSVerify or its flag: part of the interface.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


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
        raise ConfigError(f"Error loading CA File: {_reason(str(folder), error)}") from None
    return tuple(str(file) for file in names if file.is_file())


def _stamp(name: str) -> tuple[int, int]:
    try:
        found = os.stat(name)  # noqa: PTH116 - a Path object for each request is waste here
    except OSError:
        return (0, 0)  # loading it says what is wrong
    return (found.st_mtime_ns, found.st_ino)


def _reason(name: str, error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"{name}: no usable PEM in it"
    if isinstance(error, OSError) and error.strerror:
        return f"open {name}: {error.strerror.lower()}"
    return f"{name}: {type(error).__name__}"
