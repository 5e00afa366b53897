"""A company's registry: its CA, the login in the engine's store, charts in it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.base import certs
from harness.base.errors import EnvironmentLacks, LabError, UsageError
from harness.base.redact import redact
from harness.supply import choose
from harness.supply.base import Part
from harness.supply.online import charts, company, downloads, oci_charts, web
from harness.supply.online import supply as online
from harness.supply.online.supply import OnlineSupply
from tests.fakes.progress import Silent

USER, PASSWORD, TOKEN = "ann", "made-up-password-of-ann", "made-up-token-of-a-registry"
ARCHIVE = b"a made-up chart" * 1000
SUM = f"sha256:{hashlib.sha256(ARCHIVE).hexdigest()}"
MANIFEST = json.dumps(
    {"layers": [{"mediaType": oci_charts.ARCHIVE, "digest": SUM, "size": len(ARCHIVE)}]}
).encode()
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Registry(ThreadingHTTPServer):
    """A registry with TLS that asks for a login: "basic", by "bearer" token, or "none"."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asks, self.given = "basic", list[str]()
        self.files = {
            "/v2/": b"{}",
            "/v2/team/charts/thing/manifests/1.2": MANIFEST,
            f"/v2/team/charts/thing/blobs/{SUM}": ARCHIVE,
        }
        self.redirects: dict[str, str] = {}
        folder.mkdir()
        self.ca = folder / "ca.crt"
        certs.make_ca("a company", self.ca, folder / "ca.key")
        names = ["127.0.0.1", "localhost"]
        pair = folder / "server.crt", folder / "server.key"
        certs.issue(self.ca, folder / "ca.key", names, *pair, 0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that distrusts the certificate is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        registry, parts = self.server, urlsplit(self.path)
        header = self.headers.get("Authorization", "")
        registry.given.append(header)
        if parts.path == "/token":
            scope = parse_qs(parts.query)["scope"]
            right = header == BASIC and scope == ["repository:x:pull"]
            self._send(200 if right else 401, json.dumps({"token": TOKEN}).encode())
        elif parts.path in registry.redirects:
            self.send_response(307)
            self.send_header("Location", registry.redirects[parts.path])
            self.end_headers()
        elif registry.asks != "none" and header not in (BASIC, f"Bearer {TOKEN}"):
            realm = f"https://{registry.host}/token"
            self._send(
                401,
                b"{}",
                'Basic realm="a company"'
                if registry.asks == "basic"
                else f'Bearer realm="{realm}",service="s",scope="repository:x:pull"',
            )
        elif parts.path in registry.files:
            self._send(200, registry.files[parts.path])
        else:
            self._send(404, b"{}")

    def _send(self, status: int, content: bytes, challenge: str = "") -> None:
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *words: object) -> None:  # the base's name
        """No log."""


def started(folder: Path) -> Registry:
    registry = Registry(folder)
    threading.Thread(target=registry.serve_forever, args=(0.02,), daemon=True).start()
    return registry


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The company's registry, named in every variable; nobody has logged in yet."""
    made = started(tmp_path / "company")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("LAB_CHARTS", f"oci://{made.host}/team/charts")
    monkeypatch.setenv("LAB_CA", str(made.ca))
    monkeypatch.setattr(company, "ENGINES_FOLDER", tmp_path / "certs.d")
    monkeypatch.setattr(downloads, "SPARE_BYTES", 0)
    (tmp_path / "docker").mkdir()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Part:
    source = {"chart": "thing", "repository": "https://charts.example", "digest": SUM}
    made = Part("thing-chart", "1.2", "chart", "MPL-2.0", "a test", online=source)
    for module in (online, choose):
        monkeypatch.setattr(module, "find_part", {"thing-chart": made}.__getitem__)
    return made


def log_in(tmp_path: Path, host: str, **config: object) -> None:
    """What `docker login` leaves; with `config` a helper in place of the file."""
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    settings = config or {"auths": {host: {"auth": pair}}}
    (tmp_path / "docker" / "config.json").write_text(json.dumps(settings))


def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "docker-credential-test"
    program.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf '%s' '{says}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def fetched(part: Part) -> bytes:
    provided = OnlineSupply().provide([part.name], Silent())[part.name]
    assert provided.path is not None
    assert provided.digest == SUM
    return provided.path.read_bytes()


@pytest.mark.parametrize("asks", ["none", "basic", "bearer"])
def test_a_chart_comes_from_the_registry(
    registry: Registry, part: Part, tmp_path: Path, asks: str
) -> None:
    registry.asks = asks
    log_in(tmp_path, registry.host)
    assert fetched(part) == ARCHIVE
    answered = len(registry.given)
    assert fetched(part) == ARCHIVE
    assert len(registry.given) == answered, "the registry was asked again"


@pytest.mark.parametrize("kind", ["credsStore", "credHelpers"])
def test_the_login_of_a_credential_helper_is_used(
    registry: Registry, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    said = {"ServerURL": registry.host, "Username": USER, "Secret": PASSWORD}
    helper(tmp_path, monkeypatch, json.dumps(said))
    named: object = "test" if kind == "credsStore" else {registry.host: "test"}
    log_in(tmp_path, registry.host, **{kind: named})
    assert fetched(part) == ARCHIVE


def test_a_helper_that_is_not_there_is_one_sentence(
    registry: Registry, part: Part, tmp_path: Path
) -> None:
    log_in(tmp_path, registry.host, credsStore="gone")
    with pytest.raises(EnvironmentLacks, match="credential helper"):
        fetched(part)


def test_without_a_login_it_says_which(registry: Registry, part: Part) -> None:
    with pytest.raises(EnvironmentLacks, match="a login is needed") as caught:
        fetched(part)
    assert f"docker login {registry.host}" in caught.value.hint


def test_a_wrong_password_is_refused_and_not_shown(
    registry: Registry, part: Part, tmp_path: Path
) -> None:
    wrong = "another-made-up-password"
    pair = base64.b64encode(f"{USER}:{wrong}".encode()).decode()
    log_in(tmp_path, registry.host, auths={registry.host: {"auth": pair}})
    with pytest.raises(EnvironmentLacks, match="a login is needed") as caught:
        fetched(part)
    assert wrong not in str(caught.value)
    assert wrong not in redact(f"the password is {wrong}")


def test_a_login_is_not_sent_to_where_the_registry_redirects(
    registry: Registry, part: Part, tmp_path: Path
) -> None:
    log_in(tmp_path, registry.host)
    other = started(tmp_path / "elsewhere")
    try:
        blob = f"/v2/team/charts/thing/blobs/{SUM}"
        registry.redirects = {blob: f"https://{other.host}{blob}"}
        Path(str(registry.ca)).write_text(registry.ca.read_text() + other.ca.read_text())
        with pytest.raises(LabError):
            fetched(part)
        assert other.given
        assert set(other.given) == {""}
        other.asks = "none"
        assert fetched(part) == ARCHIVE
        assert set(other.given) == {""}
    finally:
        other.shutdown()
        other.server_close()


def test_a_certificate_of_nobody_known_is_one_sentence(
    registry: Registry, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_CA")
    with pytest.raises(EnvironmentLacks, match="certificate is not trusted") as caught:
        fetched(part)
    assert "LAB_CA" in caught.value.hint


def test_the_engines_ca_for_that_registry_counts(
    registry: Registry, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_CA")
    registry.asks = "none"
    folder = company.ENGINES_FOLDER / registry.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(registry.ca.read_bytes())
    assert fetched(part) == ARCHIVE


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_that_is_none_is_refused(
    registry: Registry,
    part: Part,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    monkeypatch.setenv("LAB_CA", str(file))
    with pytest.raises(UsageError, match="LAB_CA names no file with a certificate"):
        fetched(part)


def test_the_mirror_of_a_company_answers_the_survey(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://{registry.host}/v2/"
    assert web.status(url, 5) == 401
    monkeypatch.delenv("LAB_CA")
    with pytest.raises(web.BROKEN) as caught:
        web.status(url, 5)
    assert "certificate" in web.reason(caught.value)


def test_the_survey_asks_the_chart_registry(registry: Registry, part: Part) -> None:
    (answer,) = choose.survey([part.name], 5)
    assert (answer.refused, answer.place.name) == ("", f"the chart registry {registry.host}")


@pytest.mark.parametrize("problem", ["absent", "no chart", "no json", "altered", "not pinned"])
def test_what_is_not_the_chart_is_refused(
    registry: Registry, part: Part, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    registry.asks = "none"
    manifest, blob = list(registry.files)[1:]
    sentence = {
        "absent": "has no chart thing 1.2",
        "no chart": "is no chart",
        "no json": "is no manifest",
        "altered": "not what its publisher says",
        "not pinned": "is not the pinned one",
    }[problem]
    if problem == "absent":
        del registry.files[manifest]
    elif problem == "altered":
        registry.files[blob] = ARCHIVE[:-1] + b"#"
    elif problem == "not pinned":
        other = dataclasses.replace(part, online={**part.online, "digest": "sha256:" + "0" * 64})
        monkeypatch.setattr(online, "find_part", {"thing-chart": other}.__getitem__)
    else:
        registry.files[manifest] = b"<html>" if problem == "no json" else b'{"layers": []}'
    with pytest.raises(LabError, match=sentence):
        fetched(part)


@pytest.mark.parametrize("place", ["oci://", "oci://host:port/x", "oci://host/Upper"])
def test_what_is_no_registry_of_charts_is_refused(
    registry: Registry, part: Part, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("LAB_CHARTS", place)
    with pytest.raises(UsageError, match="is not the address of charts"):
        charts.release(part)
