"""A room mirror and who joins it: what arrives is what was served, and nothing else is taken."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.paths import CHECKOUT
from harness.supply.bundle import format as form
from harness.supply.mirror import connection, content, front, index, room, server
from harness.supply.mirror.connection import Connection
from harness.supply.mirror.room import Room
from harness.supply.offline.cache import Cache
from harness.supply.offline.supply import OfflineSupply
from tests.fakes import room as fake

Switch = Callable[[str], Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Switch:
    """Switches to the cache and state folder of that machine; the speaker's first."""

    def switch(name: str) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name / "cache"))
        monkeypatch.setenv("LAB_STATE", str(tmp_path / name / "state"))
        return tmp_path / name

    monkeypatch.setattr(OfflineSupply, "entries", fake.entries)
    monkeypatch.setattr(connection, "BETWEEN_TRIES_SECONDS", 0.01)
    switch("speaker")
    return switch


@pytest.fixture
def made(machine: Switch) -> Room:
    return fake.prepare()


@pytest.fixture
def fingerprint(made: Room) -> str:
    return f"SHA256:{room.certificates()}"


@pytest.fixture
def url(made: Room, fingerprint: str, machine: Switch) -> Iterator[str]:
    """A mirror that runs; this is another machine from here on."""
    with fake.serving(made) as found:
        machine("learner")
        yield found


def sound() -> bool:
    return all(Cache().damage(*entry, deep=True) == "" for entry in fake.ENTRIES.items())


def files(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock" and path.name != "timings.json"
    )


def test_a_machine_that_joins_gets_what_the_speaker_has(
    url: str, fingerprint: str, machine: Switch
) -> None:
    fake.join(url, fingerprint)
    fake.bring()
    learner, speaker = machine("learner"), machine("speaker")
    for name in ("parts", "wheels"):
        found, origin = (place / "cache/kube-vault-labs" / name for place in (learner, speaker))
        names = [entry for entry in files(found) if not entry.endswith(".json")]
        assert names == [entry for entry in files(origin) if not entry.endswith(".json")]
        assert names
        assert all((found / one).read_bytes() == (origin / one).read_bytes() for one in names)
    machine("learner")
    assert sound()
    assert files(index.downloads()) == []


def test_nothing_is_asked_where_nothing_is_missing(
    url: str, fingerprint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.join(url, fingerprint)
    monkeypatch.setattr(OfflineSupply, "cached", lambda *_: True)
    monkeypatch.setattr(Connection, "get", lambda *_: pytest.fail("the mirror was asked"))
    fake.bring()


@pytest.mark.parametrize("how", ["colons", "upper", "bare"])
def test_a_fingerprint_may_be_typed_as_openssl_writes_it(
    url: str, fingerprint: str, how: str
) -> None:
    digits = fingerprint.removeprefix("SHA256:")
    pairs = ":".join(digits[place : place + 2] for place in range(0, 64, 2))
    fake.join(url, {"colons": pairs, "upper": fingerprint.upper(), "bare": digits}[how])
    assert index.joined() == index.Joined(url, digits)


def test_another_fingerprint_is_refused_and_nothing_is_kept(url: str, machine: Switch) -> None:
    with pytest.raises(UsageError, match="has another fingerprint") as refused:
        fake.join(url, f"SHA256:{'0' * 64}")
    assert refused.value.exit_code == 2
    assert files(machine("learner")) == []


@pytest.mark.parametrize(
    ("text", "sentence"), [("abc", "not a fingerprint"), ("", "not a fingerprint")]
)
def test_what_is_no_fingerprint_is_refused(url: str, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        fake.join(url, text)


@pytest.mark.parametrize("bad", ["http://127.0.0.1:1", "127.0.0.1:1", "https://x", "https://x:y"])
def test_what_is_no_address_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a mirror"):
        fake.join(bad, "0" * 64)


def test_a_certificate_hidden_behind_the_right_one_is_not_trusted(
    made: Room, fingerprint: str, machine: Switch, tmp_path: Path
) -> None:
    """A decoder that is lenient stops at the padding: what follows was never hashed."""
    own = (room.folder() / "ca.crt").read_text()
    machine("attacker")
    room.certificates()
    other = (room.folder() / "ca.crt").read_text()
    lines = own.splitlines()
    lines[-2] += "=" * (4 - len(lines[-2].rstrip("=")) % 4)
    hidden = "\n".join([*lines[:-1], other.strip(), lines[-1]]) + "\n"
    machine("speaker")
    made.paths[index.CA] = content.Resource(hidden.encode(), "application/x-pem-file")
    with fake.serving(made) as url:
        machine("learner")
        try:
            fake.join(url, fingerprint)
        except UsageError:
            return
        joined = index.joined()
        assert joined
        assert joined.ca.read_text().count("BEGIN CERTIFICATE") == 1
        assert index.fingerprint_of(joined.ca.read_text()) == joined.fingerprint


def test_no_server_is_one_sentence(machine: Switch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(EnvironmentLacks, match=r"does not answer .*connection refused") as error:
        fake.join(f"https://127.0.0.1:{port}", "0" * 64)
    assert error.value.exit_code == 3
    assert files(machine("learner")) == []


def test_another_mirror_at_the_same_address_is_refused(
    made: Room, fingerprint: str, machine: Switch
) -> None:
    with fake.serving(made) as url:
        machine("learner")
        fake.join(url, fingerprint)
        port = int(url.rpartition(":")[2])
    machine("attacker")
    with fake.serving(fake.prepare(), ("127.0.0.1", port)):
        machine("learner")
        with pytest.raises(UsageError, match="a certificate that its CA did not sign"):
            fake.bring()


def test_an_altered_part_is_refused_and_comes_whole_the_next_time(
    made: Room, url: str, fingerprint: str, machine: Switch
) -> None:
    fake.join(url, fingerprint)
    frame = next(of.content for path, of in made.paths.items() if path.startswith(index.FRAMES))
    assert isinstance(frame, Path)
    whole = frame.read_bytes()
    frame.write_bytes(whole[:-9] + b"#" + whole[-8:])
    with pytest.raises(UsageError, match="altered: its SHA-256 sum") as error:
        fake.bring()
    assert error.value.exit_code == 2
    assert files(index.downloads()) == []
    assert not any(Cache().entry(*entry).exists() for entry in fake.ENTRIES.items())
    frame.write_bytes(whole)
    fake.bring()
    assert sound()


def test_a_mirror_that_goes_away_leaves_a_part_to_go_on_with(
    machine: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fake.prepare(3_000_000)
    fingerprint = room.certificates()
    sent: list[int] = []
    pieces = server._pieces

    def short(source: bytes | Path, start: int, end: int) -> Iterator[bytes]:
        for chunk in pieces(source, start, end):
            sent.append(len(chunk))
            if isinstance(source, Path) and source.suffix == ".zst" and sum(sent) > 1_500_000:
                raise ConnectionError("the server was killed")
            yield chunk

    with fake.serving(made) as url:
        port = int(url.rpartition(":")[2])
        machine("learner")
        fake.join(url, fingerprint)
        sent.clear()
        with monkeypatch.context() as broken:
            broken.setattr(server, "_pieces", short)
            with pytest.raises(EnvironmentLacks, match=r"does not answer \(any more\)") as error:
                fake.bring()
    assert error.value.exit_code == 3
    (partial,) = [path for path in index.downloads().iterdir() if path.suffix == ".zst"]
    there = partial.stat().st_size
    assert 1_000_000 < there < 3_000_000
    assert not any(Cache().entry(*entry).exists() for entry in fake.ENTRIES.items())
    asked: list[int] = []

    def counted(source: bytes | Path, start: int, end: int) -> Iterator[bytes]:
        asked.append(start)
        yield from pieces(source, start, end)

    monkeypatch.setattr(server, "_pieces", counted)
    machine("speaker")
    with fake.serving(made, ("127.0.0.1", port)):
        machine("learner")
        fake.bring()
    assert there in asked
    assert sound()


def test_another_version_of_the_labs_is_named(
    made: Room, fingerprint: str, machine: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "lock_sum", lambda: "0" * 64)
    with fake.serving(made) as url:
        machine("learner")
        with pytest.raises(UsageError, match="the mirror is from another version") as refused:
            fake.join(url, fingerprint)
    assert "git pull" in refused.value.hint
    assert index.joined() is None


def test_the_packages_come_with_the_standard_library_alone(
    url: str, fingerprint: str, machine: Switch
) -> None:
    # -S: without site-packages, as on a machine that has nothing but Python.
    words = [sys.executable, "-S", "-m", "harness.supply.mirror.front", url]
    ended = subprocess.run(
        [*words, "--fingerprint", fingerprint],
        cwd=CHECKOUT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert files(machine("learner")) == [f"cache/kube-vault-labs/wheels/{fake.WHEEL}"]


def test_leaving_forgets_the_mirror_and_its_certificate(url: str, fingerprint: str) -> None:
    fake.join(url, fingerprint)
    assert index.forget()
    assert files(index.folder()) == []
    assert not index.forget()
    assert index.joined() is None


def test_keys_are_their_owners_alone(made: Room, fingerprint: str) -> None:
    with fake.serving(made):
        for name in ("ca.key", "server.key"):
            assert stat.S_IMODE((room.folder() / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(room.folder().stat().st_mode) == 0o700
    assert room.certificates() == fingerprint.removeprefix("SHA256:")


@pytest.mark.parametrize("text", ["0.0.0.0:8443", "[::]:8443"])
def test_all_addresses_at_once_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="stands for every network"):
        room.parse_listen(text)


@pytest.mark.parametrize("text", ["", "8443", "127.0.0.1", "host:1", "127.0.0.1:99999", "::1"])
def test_what_is_no_address_to_listen_on_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an address and a port"):
        room.parse_listen(text)


def test_without_a_word_it_listens_on_the_loopback() -> None:
    assert room.parse_listen(room.DEFAULT) == ("127.0.0.1", 8443)
    assert room.url_of(room.parse_listen("[::1]:1")) == "https://[::1]:1"


def test_a_port_that_is_taken_is_one_sentence(made: Room) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(EnvironmentLacks, match="cannot listen on"),
    ):
        room.serving(made.paths, ("127.0.0.1", taken.getsockname()[1]))


class Asking:
    """Requests as a stranger in the room makes them."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])

    def __call__(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        asked = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=10, context=context)
        asked.request(method, path, headers=headers or {}, body=body)
        answer = asked.getresponse()
        got = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        asked.close()
        return got


@pytest.fixture
def ask(url: str) -> Asking:
    return Asking(url)


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v2/kube-vault-labs/vault/blobs/uploads/", "/index.json", "/x"])
def test_nothing_is_open_to_write(
    ask: Asking, made: Room, machine: Switch, method: str, path: str
) -> None:
    before = files(machine("speaker"))
    status, headers, text = ask(method, path, body=b"x" * 1000)
    assert status == 405
    assert headers["allow"] == "GET, HEAD"
    assert path[:4] != "/v2/" or json.loads(text)["errors"][0]["code"] == "UNSUPPORTED"
    assert files(machine("speaker")) == before


@pytest.mark.parametrize(
    "path",
    [
        "/../state/.mirror/server/ca.key",
        "/frames/../../../etc/passwd",
        "/frames/%2e%2e/%2e%2e/etc/passwd",
        "/kube-vault-labs.git/../ca.key",
        "/kube-vault-labs.git/config",
        "/wheels/%2Fetc%2Fpasswd",
        "//etc/passwd",
        "/ca.key",
        "/server.key",
    ],
)
def test_no_path_leads_to_a_file_that_is_not_served(ask: Asking, path: str) -> None:
    status, _, text = ask("GET", path)
    assert (status, text) == (404, b"not found\n")


def test_the_registry_answers_as_the_specification_says(ask: Asking, made: Room) -> None:
    (image,) = made.found.images
    base = f"/v2/{image.repository}"
    assert ask("GET", "/v2/")[0] == 200
    status, headers, text = ask("GET", f"{base}/manifests/{image.tag}")
    assert status == 200
    assert headers["docker-content-digest"] == image.digest
    assert headers["content-type"] == "application/vnd.oci.image.manifest.v1+json"
    assert ask("GET", f"{base}/manifests/{image.digest}")[2] == text
    assert json.loads(ask("GET", f"{base}/tags/list")[2])["tags"] == [image.tag]
    manifest = json.loads(text)
    for one in (manifest["config"], *manifest["layers"]):
        path = f"{base}/blobs/{one['digest']}"
        status, headers, empty = ask("HEAD", path)
        assert (status, int(headers["content-length"]), empty) == (200, one["size"], b"")
        whole = ask("GET", path)[2]
        assert f"sha256:{hashlib.sha256(whole).hexdigest()}" == one["digest"]
        status, headers, part = ask("GET", path, {"Range": "bytes=10-19"})
        assert (status, part) == (206, whole[10:20])
        assert headers["content-range"] == f"bytes 10-19/{one['size']}"
        assert ask("GET", path, {"Range": f"bytes={one['size'] - 3}-"})[2] == whole[-3:]
        assert ask("GET", path, {"Range": "bytes=-3"})[2] == whole[-3:]
        assert ask("GET", path, {"Range": f"bytes={one['size']}-"})[0] == 416
    for path, code in (
        (f"{base}/manifests/9.9", "MANIFEST_UNKNOWN"),
        (f"{base}/blobs/sha256:{'0' * 64}", "BLOB_UNKNOWN"),
        ("/v2/other", "NAME_UNKNOWN"),
    ):
        status, _, text = ask("GET", path)
        assert (status, json.loads(text)["errors"][0]["code"]) == (404, code)


def test_a_client_that_says_nothing_holds_nobody_up(url: str, ask: Asking) -> None:
    port = int(url.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    assert ask("GET", "/index.json")[0] == 200
    for one in silent:
        one.close()


def test_the_clone_can_be_cloned_and_names_no_folder_of_this_machine(
    machine: Switch, tmp_path: Path
) -> None:
    made = fake.prepare(clone=True)
    served = [path for path in made.paths if path.startswith(index.REPOSITORY)]
    assert served
    assert not any(path.endswith(("/config", ".sample")) for path in served)
    with fake.serving(made) as url:
        ca = room.folder() / "ca.crt"
        ended = subprocess.run(
            ["git", "clone", "--quiet", f"{url}{index.REPOSITORY}", str(tmp_path / "clone")],
            env={**os.environ, "GIT_SSL_CAINFO": str(ca), "no_proxy": "*"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "clone" / "lab").is_file()


def test_many_clients_at_once(url: str, ask: Asking) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask("GET", "/index.json")[0]))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 12


def test_what_a_mirror_of_another_kind_says_is_refused(
    made: Room, fingerprint: str, machine: Switch
) -> None:
    for text in (b"<html>", b"[]", b'{"manifest": {}, "images": []}'):
        made.paths[index.INDEX] = content.Resource(text, content.JSON)
        with fake.serving(made) as url:
            machine("learner")
            with pytest.raises(UsageError, match="of another version of the labs"):
                front.ask(url, fingerprint, lambda doing: None)
        machine("speaker")
