"""Where Vault is and whom to trust: layers, TLS for real, addresses, error words."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from standins.common.connection import Connection
from standins.csi_provider.connection import from_environment, overlay
from standins.csi_provider.errors import ConfigError
from tests.fakes.certificates import Authority
from tests.standins.csi_provider.world import World, in_world

NAMED = "vault.internal"


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
            assert there.vault.arrivals == 6
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
            assert there.vault.arrivals == 2

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
