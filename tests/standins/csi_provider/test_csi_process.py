"""The provider as a process: its flags, its socket, its health page, its log lines."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest
import yaml

from standins.common.account import Access
from standins.common.connection import Connection
from standins.common.flags import BadFlag, read
from standins.common.logs import Pairs, quote
from standins.common.serving import CannotServe, clear_socket, health, text_pages
from standins.csi_provider.__main__ import run as serve
from standins.csi_provider.api import SCHEMA, VersionRequest, VersionResponse
from standins.csi_provider.errors import ConfigError
from standins.csi_provider.flags import Flags
from standins.csi_provider.server import serving
from standins.csi_provider.transport import Patience, patience_from
from tests.standins.csi_provider.world import World, in_world


def parse_flags(words: list[str]) -> Flags:
    """The settings of a command line."""
    return read(Flags, "provider", words)


ROOT = Path(__file__).resolve().parents[3]


def test_flags_without_words_are_the_real_ones_defaults() -> None:
    flags = parse_flags([])
    assert flags.endpoint == "/tmp/vault.sock"
    assert flags.health_address == ":8080"
    assert flags.log_level == "info"
    assert flags.hmac_secret == "vault-csi-provider-hmac-key"
    assert flags.cache_size == 1000
    assert flags.mount == "kubernetes"
    assert flags.connection == Connection()


@pytest.mark.parametrize("dash", ["-", "--"])
def test_every_flag_is_taken_with_one_dash_or_two(dash: str) -> None:
    words = [
        "endpoint=/provider/vault.sock",
        "health-addr=127.0.0.1:1",
        "log-level=warn",
        "hmac-secret-name=key",
        "cache-size=0",
        "vault-addr=https://vault",
        "vault-mount=jwt",
        "vault-namespace=team",
        "vault-tls-ca-cert=/ca",
        "vault-tls-ca-directory=/cas",
        "vault-tls-server-name=name",
        "vault-tls-client-cert=/crt",
        "vault-tls-client-key=/key",
        "vault-tls-skip-verify",
    ]
    flags = parse_flags([dash + word for word in words])
    assert flags.connection == Connection(
        "https://vault", "team", "/ca", "/cas", "", "name", "/crt", "/key", True
    )
    assert (flags.endpoint, flags.health_address) == ("/provider/vault.sock", "127.0.0.1:1")
    assert (flags.log_level, flags.hmac_secret) == ("warn", "key")
    assert (flags.cache_size, flags.mount) == (0, "jwt")


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (["-debug"], "debug"),
        (["-debug=true"], "debug"),
        (["-debug=false"], "info"),
        (["-debug", "-log-level=error"], "error"),
    ],
)
def test_the_old_debug_flag(words: list[str], level: str) -> None:
    assert parse_flags(words).log_level == level


@pytest.mark.parametrize("word", ["-nonsense", "-cache-size=many", "-debug=maybe", "-output=xml"])
def test_a_wrong_flag_is_named(word: str) -> None:
    with pytest.raises(BadFlag, match=word.partition("=")[0]):
        parse_flags([word])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The provider's own process."""
    command = [sys.executable, "-m", "standins.csi_provider", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={}, capture_output=True, text=True, timeout=30, check=False
    )


def test_version_says_that_it_is_a_stand_in() -> None:
    as_json = json.loads(run("-version").stdout)
    assert as_json["standIn"] is True
    assert yaml.safe_load(run("-version", "-output=yaml").stdout) == as_json


def test_a_wrong_flag_ends_it_with_status_2_and_one_sentence() -> None:
    ended = run("-nonsense")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "flag provided but not defined: -nonsense" in ended.stderr


def test_outside_a_pod_it_says_so_and_ends(tmp_path: Path) -> None:
    ended = run(f"-endpoint={tmp_path}/s")
    assert ended.returncode == 1
    assert "not in a pod: KUBERNETES_SERVICE_HOST is not set" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    endpoint = tmp_path / "vault.sock"
    flags = parse_flags([f"-endpoint={endpoint}", f"-health-addr=127.0.0.1:{_free_port()}"])

    async def scenario() -> None:
        async with grpc.aio.insecure_channel(f"unix:{endpoint}") as channel:
            ask = SCHEMA.call(channel, "/v1alpha1.CSIDriverProvider/Version", VersionResponse)
            running = asyncio.ensure_future(serve(flags, Access("http://127.0.0.1:1")))
            answer = await ask(VersionRequest("v1alpha1"), timeout=10, wait_for_ready=True)
            assert answer.runtime_name == "vault-csi-provider"
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(running, 10)
            assert not endpoint.exists()

    asyncio.run(scenario())


def test_the_environment_sets_patience() -> None:
    assert patience_from({"VAULT_MAX_RETRIES": ""}) == Patience(2, 1.0, 60.0)
    given = {"VAULT_MAX_RETRIES": "0", "VAULT_CLIENT_TIMEOUT": "2m"}
    assert patience_from(given) == Patience(0, 1.0, 120.0)
    assert patience_from({"VAULT_CLIENT_TIMEOUT": "5"}).timeout == 5
    for name in given:
        with pytest.raises(ConfigError, match=name):
            patience_from({name: "often"})


def test_the_health_page_answers_while_the_socket_does(tmp_path: Path) -> None:
    port = _free_port()

    async def scenario(there: World) -> None:
        address = f"127.0.0.1:{port}"
        async with aiohttp.ClientSession() as http:
            async with serving(there.provider, str(tmp_path / "b.sock"), address):
                async with http.get(f"http://{address}/health/ready") as answer:
                    assert answer.status == 200
                async with http.get(f"http://{address}/other") as answer:
                    assert answer.status == 404
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get(f"http://{address}/health/ready")

    in_world(tmp_path, scenario)


def test_a_stale_socket_is_replaced_and_anything_else_is_left_alone(tmp_path: Path) -> None:
    stale = tmp_path / "vault.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(stale))

    async def scenario(there: World) -> None:
        assert (await there.version()).version == "v1alpha1"

    in_world(tmp_path, scenario)
    for name, make in (("file", Path.touch), ("folder", Path.mkdir)):
        make(tmp_path / name)
        with pytest.raises(CannotServe, match="exists and is not a socket"):
            clear_socket(str(tmp_path / name))
        assert (tmp_path / name).exists()
    with pytest.raises(CannotServe, match="longer than the 107 bytes"):
        clear_socket("/" + "x" * 200)


def test_what_cannot_be_served_is_said(tmp_path: Path) -> None:
    async def scenario(there: World) -> None:
        with pytest.raises(CannotServe, match="cannot listen there"):
            async with serving(there.provider, "/proc/vault.sock", "127.0.0.1:0"):
                pass
        with pytest.raises(CannotServe, match=r"is not \[host\]:port"):
            async with serving(there.provider, str(tmp_path / "c.sock"), "8080:x"):
                pass
        assert not (tmp_path / "c.sock").exists()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(CannotServe, match="EADDRINUSE"):
                async with serving(there.provider, str(tmp_path / "c.sock"), address):
                    pass

    in_world(tmp_path, scenario)


def test_a_problem_is_a_500_with_its_text() -> None:
    port = _free_port()

    async def problem() -> str:
        return "no driver"

    async def scenario() -> None:
        address = f"127.0.0.1:{port}"
        async with (
            text_pages(address, {"/healthz": health(problem)}),
            aiohttp.ClientSession() as http,
            http.get(f"http://{address}/healthz") as answer,
        ):
            assert (answer.status, await answer.text()) == (500, "no driver")

    asyncio.run(scenario())


def test_a_log_line_is_one_line() -> None:
    record = logging.LogRecord("n", logging.INFO, "", 0, "mounted", (), None)
    record.pairs = {"pod": "demo/web", "file": "a\nINFO  forged line=1"}
    line = Pairs().format(record)
    assert line.endswith('INFO  mounted pod=demo/web file="a\\nINFO  forged line=1"')
    assert quote("plain") == "plain"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
