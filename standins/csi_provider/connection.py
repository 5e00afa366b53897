"""Where Vault is and whom to trust, laid together from three layers.

The environment is lowest, the provider's flags are above it and the class's parameters
on top, each setting only what it names. A layer that names any CA replaces the CAs
below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from standins.common.connection import Connection
from standins.csi_provider.errors import ConfigError
from standins.csi_provider.parameters import parse_bool

DEFAULT_ADDRESS = "https://127.0.0.1:8200"


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
