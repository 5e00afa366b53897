"""The plugin as a process: its flags, TLS, socket, health pages, and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest

from standins.common.flags import BadFlag, read
from standins.common.serving import CannotServe
from standins.kms_plugin.__main__ import main, run
from standins.kms_plugin.flags import Flags
from tests.fakes.certificates import Authority
from tests.standins.kms_plugin.fakevault import APPROLE, MOUNT, NAME, FakeVault, until
from tests.standins.kms_plugin.world import SEED, Client, id_files

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def words(tmp_path: Path) -> dict[str, str]:
    """A command line that is right, by flag."""
    role, secret = id_files(tmp_path)
    return {
        "listen": f"unix://{tmp_path}/kms.sock",
        "vault-addr": "https://vault.test:8200",
        "vault-ca-file": str(Authority(tmp_path, "ca").file),
        "transit-mount": MOUNT,
        "key-name": NAME,
        "approle-mount": APPROLE,
        "role-id-file": str(role),
        "secret-id-file": str(secret),
    }


def parse_flags(words: list[str]) -> Flags:
    return read(Flags, "kms_plugin", words)


def line(words: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in words.items()]


def test_the_flags(words: dict[str, str], tmp_path: Path) -> None:
    flags = parse_flags(line(words))
    assert flags.socket == f"{tmp_path}/kms.sock"
    assert (flags.timeout, flags.log_level) == (2.0, "info")
    assert (flags.health_listen, flags.vault_server_name) == ("", "")
    more = {
        "timeout": "1500ms",
        "log-level": "debug",
        "health-listen": "127.0.0.1:8086",
        "vault-server-name": "vault.vault.svc",
    }
    flags = parse_flags(line(words | more))
    assert (flags.timeout, flags.log_level) == (1.5, "debug")
    assert (flags.health_listen, flags.vault_server_name) == ("127.0.0.1:8086", "vault.vault.svc")


@pytest.mark.parametrize(
    "scheme", ["http://127.0.0.1:8200", "http://[::1]:1", "http://localhost:1/"]
)
def test_without_tls_only_to_this_machine(words: dict[str, str], scheme: str) -> None:
    del words["vault-ca-file"]
    assert parse_flags(line(words | {"vault-addr": scheme})).vault_ca_file == ""


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("listen", "/run/kms/vault.sock", "it is not unix:///folder/name"),
        ("listen", "unix://kms.sock", "it is not unix:///folder/name"),
        ("listen", "unix:///" + "x" * 107, "it is longer than the 107 bytes"),
        ("vault-addr", "vault.test:8200", "it is not https://host:port"),
        ("vault-addr", "https://vault.test", "it is not https://host:port"),
        ("vault-addr", "https://vault.test:99999", "it is not https://host:port"),
        ("vault-addr", "http://vault.test:8200", "it is not https://host:port"),
        ("vault-addr", "https://u:p@vault.test:1", "it is not https://host:port"),
        ("vault-addr", "https://vault.test:1/v1", "it is not https://host:port"),
        ("vault-ca-file", "", "-vault-ca-file is missing"),
        (
            "vault-ca-file",
            "/nowhere",
            "-vault-ca-file: Error loading CA File: open /nowhere: no such file",
        ),
        ("vault-ca-file", "{role}", "no usable PEM in it"),
        ("vault-server-name", "a b", "it is not a name like vault.vault.svc"),
        ("transit-mount", "", "it is not a name like lab06-transit"),
        ("transit-mount", "../sys", "it is not a name like lab06-transit"),
        ("transit-mount", "x" * 200, "it is not a name like lab06-transit"),
        ("key-name", "a/b", "it is not a name like kubernetes"),
        ("approle-mount", "a?b", "it is not a name like lab06-approle"),
        ("role-id-file", "", "for flag -role-id-file: it names no file"),
        (
            "secret-id-file",
            "/nowhere",
            "for flag -secret-id-file: /nowhere: no such file",
        ),
        ("secret-id-file", "{folder}", "for flag -secret-id-file: {folder}: is a directory"),
        ("health-listen", "8086", "it is not host:port"),
        ("health-listen", "127.0.0.1:http", "it is not host:port"),
        ("health-listen", "127.0.0.1:65536", "it is not host:port"),
        ("timeout", "2", "it is not a time from 100ms to 1m"),
        ("timeout", "50ms", "it is not a time from 100ms to 1m"),
        ("timeout", "2h", "it is not a time from 100ms to 1m"),
        ("log-level", "loud", "'loud' for flag -log-level: it is not one of"),
        ("log-levels", "info", "flag provided but not defined: -log-levels"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_status_2(
    words: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    value: str,
    said: str,
) -> None:
    here = {"{role}": words["role-id-file"], "{folder}": str(tmp_path)}
    for name, path in here.items():
        value, said = value.replace(name, path), said.replace(name, path)
    monkeypatch.setattr(sys, "argv", ["kms_plugin", *line(words | {flag: value})])
    assert main() == 2
    output = capsys.readouterr().err
    assert said in output
    assert output.startswith("kms_plugin: ")
    assert output.count("\n") == 1
    assert "canary" not in output


@pytest.mark.parametrize(
    "missing",
    ["listen", "vault-addr", "transit-mount", "key-name", "approle-mount", "role-id-file",
     "secret-id-file"],
)  # fmt: skip
def test_a_missing_flag_is_named(words: dict[str, str], missing: str) -> None:
    del words[missing]
    with pytest.raises(BadFlag, match=f"^-{missing} is missing: "):
        parse_flags(line(words))


# -- serving -----------------------------------------------------------------------------


@asynccontextmanager
async def plugin(flags: Flags) -> AsyncIterator[Client]:
    """The whole program, without the process around it."""
    stop = asyncio.Event()
    async with grpc.aio.insecure_channel(f"unix:{flags.socket}") as channel:
        running = asyncio.ensure_future(run(flags, stop))
        try:
            yield Client(channel)
        finally:
            stop.set()
            await asyncio.wait_for(running, 10)


def flags_for(words: dict[str, str], address: str, **rest: str) -> Flags:
    named = {name.replace("_", "-"): value for name, value in rest.items()}
    return parse_flags(line(words | {"vault-addr": address} | named))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_vaults_certificate_is_checked(words: dict[str, str], tmp_path: Path) -> None:
    async def scenario() -> None:
        trusted, other = Authority(tmp_path, "ca"), Authority(tmp_path, "other")
        fake = FakeVault()
        async with fake.served(trusted.server("vault.vault.svc")) as address:
            flags = flags_for(words, address, vault_server_name="vault.vault.svc")
            async with plugin(flags) as client:
                assert (await client.status()).healthz == "ok"
                # The labs make a new CA with a new Vault; the file is replaced, not the plugin.
                Path(flags.vault_ca_file).write_bytes(other.file.read_bytes())
                found = (await client.status()).healthz
                assert "certificate signed by unknown authority" in found
            async with plugin(replace(flags, vault_server_name="")) as client:
                found = (await client.status()).healthz
                assert "failed to verify certificate: x509: " in found

    asyncio.run(scenario())


def test_the_socket_and_the_health_pages(words: dict[str, str], tmp_path: Path) -> None:
    async def scenario() -> None:
        fake, port = FakeVault(), free_port()
        async with fake.served() as address, aiohttp.ClientSession() as http:
            flags = flags_for(words, address, health_listen=f"127.0.0.1:{port}")
            with socket.socket(socket.AF_UNIX) as left_behind:
                left_behind.bind(flags.socket)
            async with plugin(flags) as client:
                assert (await client.status()).healthz == "ok"
                mode = Path(flags.socket).stat().st_mode
                assert stat.S_ISSOCK(mode)
                assert stat.S_IMODE(mode) == 0o666
                pages = {}
                for fake.sealed in (False, True):
                    for page in ("healthz", "livez"):
                        async with http.get(f"http://127.0.0.1:{port}/{page}") as answer:
                            pages[page, fake.sealed] = (answer.status, await answer.text())
                assert pages == {
                    ("healthz", False): (200, "ok"),
                    ("healthz", True): (503, f"Vault at {address} is sealed; unseal it"),
                    ("livez", False): (200, "ok"),
                    ("livez", True): (200, "ok"),
                }
                fake.sealed = False
            assert not Path(flags.socket).exists()
            assert fake.tokens == {}

    asyncio.run(scenario())


def test_what_cannot_be_served_is_said(words: dict[str, str], tmp_path: Path) -> None:
    async def scenario() -> None:
        flags = flags_for(words, "http://127.0.0.1:1")
        for wrong in (f"{tmp_path}/none/kms.sock", words["role-id-file"]):
            with pytest.raises(CannotServe, match=wrong):
                await run(replace(flags, socket=wrong), asyncio.Event())
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(CannotServe, match="EADDRINUSE"):
                await run(replace(flags, health_listen=address), asyncio.Event())
        assert not Path(flags.socket).exists()

    asyncio.run(scenario())


def test_it_ends_with_status_1_when_it_cannot_serve(
    words: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words["listen"] = "unix:///proc/none/kms.sock"
    monkeypatch.setattr(sys, "argv", ["kms_plugin", *line(words)])
    # It would leave a handler on this test's own stderr behind for all later tests.
    monkeypatch.setattr("standins.kms_plugin.__main__.configure", lambda level: None)
    assert main() == 1
    assert "kms_plugin: /proc/none/kms.sock: cannot listen there" in capsys.readouterr().err


def test_a_folder_open_to_everybody_is_told_of(
    words: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        for mode in (0o700, 0o755):
            tmp_path.chmod(mode)
            async with plugin(flags_for(words, "http://127.0.0.1:1")) as client:
                await client.status()

    asyncio.run(scenario())
    assert caplog.text.count("the socket's folder is open to everybody") == 1


def test_sigterm_lets_a_call_finish_and_clears_up(words: dict[str, str], tmp_path: Path) -> None:
    async def scenario() -> None:
        fake = FakeVault()
        async with fake.served() as address:
            words["vault-addr"] = address
            command = [sys.executable, "-m", "standins.kms_plugin", *line(words)]
            log = tmp_path / "log"
            with log.open("wb") as stderr:
                process = subprocess.Popen(command, cwd=ROOT, stderr=stderr)
            try:
                async with grpc.aio.insecure_channel(f"unix:{tmp_path}/kms.sock") as channel:
                    client = Client(channel)
                    await client.status(timeout=30)
                    stored = await client.encrypt(uid="uid-before")
                    fake.delay = 0.5
                    running = asyncio.ensure_future(client.decrypt(stored, uid="uid-during"))
                    await until(lambda: fake.open == 1)
                    process.send_signal(signal.SIGTERM)
                    assert await running == SEED
                await asyncio.wait_for(asyncio.to_thread(process.wait), 10)
            finally:
                process.kill()
                process.wait()
        assert process.returncode == 0
        assert not (tmp_path / "kms.sock").exists()
        assert fake.tokens == {}
        said = log.read_text()
        for words_said in ("encrypt uid=uid-before outcome=ok ms=", "decrypt uid=uid-during"):
            assert words_said in said
        assert "canary" not in said
        assert "Traceback" not in said

    asyncio.run(scenario())


def test_it_runs_from_a_read_only_folder(words: dict[str, str], tmp_path: Path) -> None:
    """In its container it may write to the socket's folder only."""
    folder = tmp_path / "empty"
    folder.mkdir(mode=0o500)
    ended = subprocess.run(
        [sys.executable, "-m", "standins.kms_plugin", "--listen=nowhere"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert list(folder.iterdir()) == []
