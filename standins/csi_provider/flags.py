"""The provider's command line: the same flags, with one dash or two, as the real one's."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from standins.csi_provider.errors import ConfigError
from standins.csi_provider.parameters import Connection, parse_bool


@dataclass(frozen=True)
class Flags:
    """The settings of one provider process."""

    endpoint: str
    health_address: str
    log_level: str
    hmac_secret: str
    cache_size: int
    mount: str
    connection: Connection
    version: bool
    output: str


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Read the command line; wrong words end the process with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m standins.csi_provider", allow_abbrev=False, description=__doc__
    )

    def flag(name: str, default: str, help_text: str) -> None:
        parser.add_argument(f"-{name}", f"--{name}", default=default, help=help_text)

    def switch(name: str, help_text: str) -> None:
        # `-x` and `-x=true` are the same, as Go's flags have it.
        parser.add_argument(
            f"-{name}",
            f"--{name}",
            nargs="?",
            type=_bool,
            const=True,
            default=False,
            help=help_text,
        )

    flag("endpoint", "/tmp/vault.sock", "the socket to serve on")  # noqa: S108 - the interface's default
    flag("health-addr", ":8080", "where /health/ready is served, [host]:port")
    flag("log-level", "info", "trace, debug, info, warn, error or off")
    switch("debug", "the old name of -log-level=debug")
    flag("hmac-secret-name", "vault-csi-provider-hmac-key", "Secret that holds the HMAC key")
    parser.add_argument(
        "-cache-size",
        "--cache-size",
        type=int,
        default=1000,
        help="how many Vault tokens are kept; 0 or less keeps none",
    )
    flag("vault-addr", "", "Vault's address, before VAULT_ADDR")
    flag("vault-mount", "kubernetes", "mount of the auth method for classes that name none")
    flag("vault-namespace", "", "Vault namespace, before VAULT_NAMESPACE")
    flag("vault-tls-ca-cert", "", "file with the CA, before VAULT_CACERT")
    flag("vault-tls-ca-directory", "", "folder with CAs, before VAULT_CAPATH")
    flag("vault-tls-server-name", "", "name that Vault's certificate is checked for")
    flag("vault-tls-client-cert", "", "client certificate; needs -vault-tls-client-key")
    flag("vault-tls-client-key", "", "key of the client certificate")
    switch("vault-tls-skip-verify", "do not check Vault's certificate")
    switch("version", "print the version and end")
    parser.add_argument(
        "-output",
        "--output",
        choices=("yaml", "json", "json-pretty"),
        default="json",
        help="form of -version",
    )
    read = vars(parser.parse_args(list(arguments)))
    return Flags(
        endpoint=read["endpoint"].removeprefix("unix://"),
        health_address=read["health_addr"],
        log_level="debug" if read["debug"] and read["log_level"] == "info" else read["log_level"],
        hmac_secret=read["hmac_secret_name"],
        cache_size=read["cache_size"],
        mount=read["vault_mount"],
        connection=Connection(
            address=read["vault_addr"],
            namespace=read["vault_namespace"],
            ca_file=read["vault_tls_ca_cert"],
            ca_folder=read["vault_tls_ca_directory"],
            server_name=read["vault_tls_server_name"],
            client_cert=read["vault_tls_client_cert"],
            client_key=read["vault_tls_client_key"],
            skip_verify=read["vault_tls_skip_verify"],
        ),
        version=read["version"],
        output=read["output"],
    )


def _bool(text: str) -> bool:
    try:
        return parse_bool(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
