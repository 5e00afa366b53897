"""The provider's command line: the same flags as the real one's."""

from __future__ import annotations

from dataclasses import dataclass

from standins.common.connection import UNIX, Connection
from standins.common.flags import flag, integer, switch


def _form(text: str) -> str:
    if text not in ("yaml", "json", "json-pretty"):
        raise ValueError("it is none of yaml, json, json-pretty")
    return text


def _socket(text: str) -> str:
    return text.removeprefix(UNIX)


@dataclass(frozen=True)
class Flags:
    """The settings of one provider process."""

    endpoint: str = flag("endpoint", "/tmp/vault.sock", "the socket to serve on", _socket)  # noqa: S108 - the interface's default
    health_address: str = flag("health-addr", ":8080", "where /health/ready is served, [host]:port")
    level: str = flag("log-level", "info", "trace, debug, info, warn, error or off")
    debug: bool = switch("debug", False, "the old name of -log-level=debug")
    hmac_secret: str = flag(
        "hmac-secret-name", "vault-csi-provider-hmac-key", "Secret that holds the HMAC key"
    )
    cache_size: int = flag(
        "cache-size", 1000, "how many Vault tokens are kept; 0 or less keeps none", integer
    )
    address: str = flag("vault-addr", "", "Vault's address, before VAULT_ADDR")
    mount: str = flag(
        "vault-mount", "kubernetes", "mount of the auth method for classes that name none"
    )
    namespace: str = flag("vault-namespace", "", "Vault namespace, before VAULT_NAMESPACE")
    ca_file: str = flag("vault-tls-ca-cert", "", "file with the CA, before VAULT_CACERT")
    ca_folder: str = flag("vault-tls-ca-directory", "", "folder with CAs, before VAULT_CAPATH")
    server_name: str = flag(
        "vault-tls-server-name", "", "name that Vault's certificate is checked for"
    )
    client_cert: str = flag(
        "vault-tls-client-cert", "", "client certificate; needs -vault-tls-client-key"
    )
    client_key: str = flag("vault-tls-client-key", "", "key of the client certificate")
    skip_verify: bool = switch("vault-tls-skip-verify", False, "do not check Vault's certificate")
    version: bool = switch("version", False, "print the version and end")
    output: str = flag("output", "json", "form of -version: yaml, json or json-pretty", _form)

    @property
    def log_level(self) -> str:
        """How much to log."""
        return "debug" if self.debug and self.level == "info" else self.level

    @property
    def connection(self) -> Connection:
        """The layer of connection settings that the flags make."""
        return Connection(
            address=self.address,
            namespace=self.namespace,
            ca_file=self.ca_file,
            ca_folder=self.ca_folder,
            server_name=self.server_name,
            client_cert=self.client_cert,
            client_key=self.client_key,
            skip_verify=self.skip_verify,
        )
