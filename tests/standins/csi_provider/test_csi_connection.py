"""Where Vault is and whom to trust: layers, TLS for real, addresses, error words."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from standins.csi_provider.connection import base_url, from_environment, overlay, tls_context
from standins.csi_provider.errors import ConfigError
from standins.csi_provider.parameters import Connection
from standins.csi_provider.transport import request_url
from tests.standins.csi_provider.world import World, in_world

NAMED = "vault.internal"


class Authority:
    """A CA in a folder, and certificates that it signs."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.file = folder / f"{name}.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file.write_bytes(self._sign(self._name, self._key, True, ()))

    def leaf(self, *names: str) -> tuple[str, str]:
        """Certificate and key files for these DNS names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        cert, private = (self.folder / f"{names[0]}.{kind}" for kind in ("pem", "key"))
        cert.write_bytes(self._sign(subject, key, False, names))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(cert), str(private)

    def server(self, *names: str, client_ca: Path | None = None) -> ssl.SSLContext:
        """A server's context; with `client_ca` it wants a client certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.leaf(*names))
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        return context

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, ca: bool, names: tuple[str, ...]
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        if names:
            dns = [x509.DNSName(name) for name in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(dns), critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def test_the_environment_is_read() -> None:
    given = {
        "VAULT_ADDR": "https://vault:8200",
        "VAULT_NAMESPACE": "team",
        "VAULT_CACERT": "/ca",
        "VAULT_CAPATH": "/cas",
        "VAULT_CACERT_BYTES": "PEM",
        "VAULT_TLS_SERVER_NAME": NAMED,
        "VAULT_CLIENT_CERT": "/crt",
        "VAULT_CLIENT_KEY": "/key",
        "VAULT_SKIP_VERIFY": "1",
        "VAULT_TOKEN": "never used",
    }
    assert from_environment(given) == Connection(
        "https://vault:8200", "team", "/ca", "/cas", "PEM", NAMED, "/crt", "/key", True
    )
    assert from_environment({}) == Connection(address="https://127.0.0.1:8200")
    with pytest.raises(ConfigError, match=r"strconv.ParseBool"):
        from_environment({"VAULT_SKIP_VERIFY": "perhaps"})


def test_the_class_is_above_the_flags_and_these_above_the_environment() -> None:
    environment = Connection("https://env", "env", ca_file="/env", server_name="env")
    flags = Connection("https://flag", client_cert="/crt", client_key="/key", ca_folder="/flag")
    assert overlay(environment, flags, Connection(namespace="class", skip_verify=True)) == (
        Connection(
            address="https://flag",
            namespace="class",
            ca_folder="/flag",
            server_name="env",
            client_cert="/crt",
            client_key="/key",
            skip_verify=True,
        )
    )
    assert overlay(environment, Connection(skip_verify=True), Connection()).skip_verify


@pytest.mark.parametrize("half", [Connection(client_cert="/crt"), Connection(client_key="/key")])
def test_half_a_key_pair_is_refused(half: Connection) -> None:
    with pytest.raises(ConfigError, match="both client cert and client key must be provided"):
        overlay(Connection(), half)


@pytest.mark.parametrize(
    ("address", "path", "url"),
    [
        ("https://vault:8200", "secret/data/a", "https://vault:8200/v1/secret/data/a"),
        (
            "https://vault:8200/",
            "/v1/secret/data/a?version=2",
            "https://vault:8200/v1/secret/data/a?version=2",
        ),
        ("http://vault/behind/proxy", "kv/a b", "http://vault/behind/proxy/v1/kv/a%20b"),
        ("http://u:p@vault:1?q#f", "kv/a", "http://vault:1/v1/kv/a"),
        ("http://vault", "kv/a#b", "http://vault/v1/kv/a%23b"),
        ("http://vault", "//evil.example/x", "http://vault/v1//evil.example/x"),
        ("http://vault", "kv/@evil:80/", "http://vault/v1/kv/@evil:80/"),
        ("http://[::1]:8200", "kv/a", "http://[::1]:8200/v1/kv/a"),
    ],
)
def test_urls_never_leave_the_address(address: str, path: str, url: str) -> None:
    assert str(request_url(base_url(address), path)) == url


@pytest.mark.parametrize(
    "address", ["vault:8200", "ftp://vault", "http://", "", "http://a:b", "/x"]
)
def test_a_bad_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"is not http://host:port"):
        base_url(address)


def test_a_bad_address_in_a_class_reaches_the_pod(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        text = await there.refusal(vaultAddress="vault:8200")
        assert text.startswith("error making mount request: Vault address 'vault:8200' is not")
        assert "unix:// is for the provider" in await there.refusal(vaultAddress="unix:///x")

    in_world(tmp_path, scenario)


def test_tls_with_the_classes_own_settings(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(ours.file.read_bytes())
    (folder / "..data").symlink_to(folder)

    async def scenario(there: World) -> None:
        async with there.vault.served(ours.server(NAMED)):
            trusted = {"vaultCACertPath": str(ours.file), "vaultTLSServerName": NAMED}
            assert await there.mount(**trusted) == {"password": b"canary-two"}
            by_folder = {"vaultCADirectory": str(folder), "vaultTLSServerName": NAMED}
            assert await there.mount(**by_folder) == {"password": b"canary-two"}
            assert await there.mount(vaultSkipTLSVerify="true") == {"password": b"canary-two"}
            text = await there.refusal(vaultCACertPath=str(other.file), vaultTLSServerName=NAMED)
            assert text.endswith("x509: certificate signed by unknown authority")
            text = await there.refusal(vaultTLSServerName=NAMED)
            assert text.endswith("x509: certificate signed by unknown authority")
            text = await there.refusal(vaultCACertPath=str(ours.file))
            assert "failed to verify certificate: x509: " in text
            ours_by_name = {"vaultCACertPath": str(ours.file), "vaultTLSServerName": "x.test"}
            assert (await there.refusal(**ours_by_name)).endswith("other names, not x.test")
            # A certificate does not get better by asking again.
            assert there.vault.requests == 6
            text = await there.refusal(vaultAddress=there.vault.base.replace("https", "http"))
            assert "failed to login: " in text

    in_world(tmp_path, scenario)


def test_a_client_certificate_is_shown(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    cert, key = ours.leaf("client")

    async def scenario(there: World) -> None:
        async with there.vault.served(ours.server(NAMED, client_ca=ours.file)):
            known = {"vaultCACertPath": str(ours.file), "vaultTLSServerName": NAMED}
            pair = {"vaultTLSClientCertPath": cert, "vaultTLSClientKeyPath": key}
            assert await there.mount(**known, **pair) == {"password": b"canary-two"}
            assert "failed to login: " in await there.refusal(**known)
            assert there.vault.requests == 2

    in_world(tmp_path, scenario)


def test_a_renewed_ca_file_needs_no_restart(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    mounted = tmp_path / "ca.crt"
    mounted.write_bytes(old.file.read_bytes())

    async def scenario(there: World) -> None:
        settings = {"vaultCACertPath": str(mounted), "vaultTLSServerName": NAMED}
        async with there.vault.served(new.server(NAMED)):
            assert "unknown authority" in await there.refusal(**settings)
            renewed = tmp_path / "renewed"
            renewed.write_bytes(new.file.read_bytes())
            renewed.rename(mounted)
            assert await there.mount(**settings) == {"password": b"canary-two"}

    in_world(tmp_path, scenario)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Connection(ca_file="/none/ca.crt"), "Error loading CA File: open /none/ca.crt: no such"),
        (Connection(ca_file=__file__), "Error loading CA File: "),
        (Connection(ca_folder="/none"), "Error loading CA File: open /none: no such"),
        (Connection(ca_pem="not pem"), "Error appending CA: Couldn't parse PEM"),
        (
            Connection(client_cert=__file__, client_key=__file__),
            ": no certificate and its key",
        ),
        (Connection(client_cert="/none/c", client_key="/none/k"), "open /none/c: no such file"),
    ],
)
def test_unusable_files_are_named(settings: Connection, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tls_context(settings)
    assert words in str(caught.value)


def test_without_a_ca_the_systems_are_trusted_and_checked() -> None:
    context = tls_context(Connection())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert tls_context(Connection(address="x", namespace="y")) is context


def test_a_vault_agents_socket_serves_all_classes_without_an_address(tmp_path: Path) -> None:
    agent = str(tmp_path / "agent.sock")

    async def scenario(there: World) -> None:
        async with there.vault.served_on_socket(agent):
            request = there.request(tokens={"vault": "jwt-app"}, without=("vaultAddress",))
            assert (await there.send(request)).files[0].contents == b"canary-two"
        text = await there.refusal(without=("vaultAddress",))
        assert text.endswith(f"dial unix {agent}: connect: connection refused")

    in_world(tmp_path, scenario, flags=Connection(address=f"unix://{agent}"))


def test_an_unknown_host_and_a_closed_port_are_told_apart(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        text = await there.refusal(vaultAddress="http://127.0.0.1:1")
        assert text.endswith(
            'failed to login: Post "http://127.0.0.1:1/v1/auth/kubernetes/login": '
            "dial tcp 127.0.0.1:1: connect: connection refused"
        )

    in_world(tmp_path, scenario)


def test_a_host_that_does_not_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nowhere(*_: object, **__: object) -> list[object]:
        raise OSError("Name or service not known")

    async def scenario(there: World) -> None:
        # The machine that runs the tests may have no name service at all.
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nowhere)
        text = await there.refusal(vaultAddress="http://vault.nowhere.test:8200")
        assert text.endswith("dial tcp: lookup vault.nowhere.test: no such host")

    in_world(tmp_path, scenario)
