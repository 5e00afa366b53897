"""Downloads of programs against a real HTTP server: sums, resuming, tampering, full disks."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.base.errors import EnvironmentLacks, UsageError
from harness.supply.base import Part, find_part
from harness.supply.lock import Lock
from harness.supply.online import downloads, web
from harness.supply.online.checksums import find_sum
from harness.supply.online.downloads import Host, Release

LINUX = Host("linux", "amd64")
PROGRAM = b"#!/bin/sh\necho the real thing\n" + os.urandom(300_000)


@dataclass
class Publisher:
    """An HTTP server with made-up releases. `cut` ends each body after so many bytes."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    ranges: bool = True
    status: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""

    def put(self, path: str, content: bytes, name: str | None = None) -> None:
        """Publish `content` and, in the list form, its checksum."""
        self.files[path] = content
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"{path}.sum"] = f"{digest}  {name or path.rpartition('/')[2]}\n".encode()


class _Handler(BaseHTTPRequestHandler):
    publisher: Publisher

    def do_GET(self) -> None:
        publisher = self.publisher
        publisher.asked.append((self.path, self.headers.get("Range", "")))
        if publisher.status:
            self.send_error(publisher.status)
            return
        if self.path not in publisher.files:
            self.send_error(404)
            return
        content, start = publisher.files[self.path], 0
        asked = self.headers.get("Range")
        if asked and publisher.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if publisher.cut and not self.path.endswith(".sum"):
            body = body[: publisher.cut.pop(0)]
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path in self.publisher.files else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    published = Publisher()
    handler = type("Handler", (_Handler,), {"publisher": published})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    published.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield published
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("LAB_DOWNLOADS", raising=False)
    monkeypatch.setattr(downloads, "SPARE_BYTES", 0)


@pytest.fixture
def part(publisher: Publisher) -> Part:
    online = {
        "url": publisher.address + "/v{version}/tool-{os}-{arch}",
        "checksum": publisher.address + "/v{version}/tool-{os}-{arch}.sum",
    }
    publisher.put("/v1.2/tool-linux-amd64", PROGRAM)
    return Part("tool", "1.2", "binary", "MIT", "a tool", online=online)


def fetch(part: Part, host: Host = LINUX, said: list[str] | None = None) -> downloads.Stored:
    return Release(part, host).fetch(Lock(), (said if said is not None else []).append)


def files_in(cache: Path) -> list[str]:
    return sorted(file.name for file in cache.rglob("*") if file.is_file())


def test_a_program_is_installed_and_then_used_without_the_network(
    part: Part, publisher: Publisher, tmp_path: Path
) -> None:
    said: list[str] = []
    stored = fetch(part, said=said)
    assert stored.path.name == "tool"
    assert stored.path.read_bytes() == PROGRAM
    assert os.access(stored.path, os.X_OK)
    assert f"downloading, {len(PROGRAM) / 1e6:.1f} of {len(PROGRAM) / 1e6:.1f} MB" in said
    assert files_in(tmp_path / "cache") == ["download.json", "tool"]
    asked = len(publisher.asked)
    assert fetch(part) == stored
    assert len(publisher.asked) == asked
    seen = Lock().seen("tool 1.2 linux/amd64")
    assert seen is not None
    assert seen.digest == "sha256:" + hashlib.sha256(PROGRAM).hexdigest()


def test_each_platform_gets_its_own(part: Part, publisher: Publisher) -> None:
    publisher.put("/v1.2/tool-darwin-arm64", b"for a Mac")
    mac = fetch(part, Host("darwin", "arm64"))
    assert mac.path.read_bytes() == b"for a Mac"
    assert mac.path != fetch(part).path


def _tar_gz(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _zip(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("member", "archive"),
    [("{os}-{arch}/helm", _tar_gz("linux-amd64/helm", PROGRAM)), ("helm", _zip("helm", PROGRAM))],
)
def test_a_program_comes_out_of_its_archive(
    part: Part, publisher: Publisher, member: str, archive: bytes
) -> None:
    publisher.put("/v1.2/tool-linux-amd64", archive)
    packed = Part("tool", "1.2", "binary", "MIT", "", online={**part.online, "member": member})
    stored = fetch(packed)
    assert stored.path.name == "helm"
    assert stored.path.read_bytes() == PROGRAM
    assert stored.sum != stored.published


def test_an_archive_without_the_program_leaves_nothing(
    part: Part, publisher: Publisher, tmp_path: Path
) -> None:
    publisher.put("/v1.2/tool-linux-amd64", _tar_gz("other", PROGRAM))
    packed = Part("tool", "1.2", "binary", "MIT", "", online={**part.online, "member": "helm"})
    with pytest.raises(EnvironmentLacks, match="holds no file 'helm'"):
        fetch(packed)
    assert files_in(tmp_path) == []


def test_a_wrong_sum_is_refused_and_deleted(
    part: Part, publisher: Publisher, tmp_path: Path
) -> None:
    publisher.files["/v1.2/tool-linux-amd64"] = PROGRAM[:-1] + b"!"
    with pytest.raises(UsageError, match="not what its publisher says") as caught:
        fetch(part)
    assert caught.value.exit_code == 2
    assert files_in(tmp_path) == []


def test_a_body_that_is_cut_short_is_resumed_in_the_same_run(
    part: Part, publisher: Publisher
) -> None:
    publisher.cut = [100_000, 100_000]
    said: list[str] = []
    assert fetch(part, said=said).path.read_bytes() == PROGRAM
    offsets = [value for path, value in publisher.asked if not path.endswith(".sum")]
    assert offsets[0] == ""
    assert all(value.startswith("bytes=") and value != "bytes=0-" for value in offsets[1:])
    assert "the connection broke off, trying again" in said


def test_a_server_without_ranges_starts_afresh(part: Part, publisher: Publisher) -> None:
    publisher.cut, publisher.ranges = [100_000], False
    assert fetch(part).path.read_bytes() == PROGRAM


def test_an_interrupted_download_goes_on_in_the_next_run(
    part: Part, publisher: Publisher, tmp_path: Path
) -> None:
    def interrupt(doing: str) -> None:
        if doing.startswith("downloading, 0.1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Release(part, LINUX).fetch(Lock(), interrupt)
    (left,) = [name for name in files_in(tmp_path) if name != "supply.lock.json"]
    assert left.endswith(".partial")
    assert Release(part, LINUX).find() is None
    assert fetch(part).path.read_bytes() == PROGRAM
    assert publisher.asked[-1][1].startswith("bytes=")


def test_a_spoilt_partial_file_does_not_spoil_the_download(part: Part, tmp_path: Path) -> None:
    folder = Release(part, LINUX).folder
    folder.mkdir(parents=True)
    digest = hashlib.sha256(PROGRAM).hexdigest()
    (folder / f"{digest[:16]}.partial").write_bytes(b"x" * 1000)
    said: list[str] = []
    assert fetch(part, said=said).path.read_bytes() == PROGRAM
    assert "the resumed file is wrong, starting afresh" in said


@pytest.mark.parametrize("extra", [0, 5])
def test_a_partial_file_that_is_complete_or_too_long(part: Part, extra: int) -> None:
    folder = Release(part, LINUX).folder
    folder.mkdir(parents=True)
    digest = hashlib.sha256(PROGRAM).hexdigest()
    (folder / f"{digest[:16]}.partial").write_bytes(PROGRAM + b"x" * extra)
    assert fetch(part).path.read_bytes() == PROGRAM


def test_a_server_that_never_finishes_is_given_up(part: Part, publisher: Publisher) -> None:
    publisher.cut = [0] * 20
    with pytest.raises(EnvironmentLacks, match=r"127\.0\.0\.1:\d+ does not give the file"):
        fetch(part)
    assert len(publisher.asked) == 1 + downloads.TRIES_IN_VAIN


def test_a_server_that_is_gone_is_one_sentence(part: Part) -> None:
    online = dict.fromkeys(("url", "checksum"), "http://127.0.0.1:1/{version}")
    gone = Part("tool", "1.2", "binary", "MIT", "", online=online)
    with pytest.raises(
        EnvironmentLacks,
        match=r"127\.0\.0\.1:1 does not give the checksum of tool 1\.2 linux/amd64: .* refused",
    ):
        fetch(gone)


@pytest.mark.parametrize(
    ("status", "words"), [(404, "has no such file"), (403, "refuses"), (503, "it answers 503")]
)
def test_an_answer_that_is_no_file(
    part: Part, publisher: Publisher, status: int, words: str
) -> None:
    publisher.status = status
    with pytest.raises(EnvironmentLacks, match=words):
        fetch(part)


def test_a_release_that_was_replaced_is_refused_before_it_is_downloaded(
    part: Part, publisher: Publisher
) -> None:
    shutil.rmtree(fetch(part).path.parent)
    publisher.put("/v1.2/tool-linux-amd64", b"another build")
    publisher.asked.clear()
    with pytest.raises(UsageError, match=r"tool 1\.2 linux/amd64 has changed"):
        fetch(part)
    assert [path for path, _ in publisher.asked] == ["/v1.2/tool-linux-amd64.sum"]


def test_a_damaged_program_is_noticed_and_downloaded_again(part: Part) -> None:
    path = fetch(part).path
    path.write_bytes(PROGRAM[:-1] + b"!")
    assert Release(part, LINUX).find() is None
    assert fetch(part).path.read_bytes() == PROGRAM


def test_a_touched_program_is_still_good(part: Part) -> None:
    path = fetch(part).path
    os.utime(path)
    assert Release(part, LINUX).find() is not None


class _FullDisk(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said_and_left_without_half_files(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, mode="r", *rest, **more: (
            _FullDisk() if mode == "r+b" else opened(self, mode, *rest, **more)
        ),
    )
    with pytest.raises(EnvironmentLacks, match="the disk is full"):
        fetch(part)
    assert files_in(tmp_path) == []


def test_too_little_room_is_said_before_the_download(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "SPARE_BYTES", 1 << 60)
    with pytest.raises(EnvironmentLacks, match="too little free disk"):
        fetch(part)
    assert files_in(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_said(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EnvironmentLacks, match="cache cannot be written: Not a directory"):
        fetch(part)


def test_two_at_once_download_once(part: Part, publisher: Publisher) -> None:
    found: list[downloads.Stored] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(part))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(publisher.asked) == 2


def test_downloads_can_come_from_a_folder_or_another_address(
    part: Part, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy" / "v1.2"
    copy.mkdir(parents=True)
    for name, content in publisher.files.items():
        (copy / name.rpartition("/")[2]).write_bytes(content)
    upstream = {
        key: value.replace(publisher.address, "https://example.invalid")
        for key, value in part.online.items()
    }
    away = Part("tool", "1.2", "binary", "MIT", "", online=upstream)
    monkeypatch.setenv("LAB_DOWNLOADS", str(tmp_path / "copy"))
    stored = fetch(away)
    assert stored.url == str(copy / "tool-linux-amd64")
    shutil.rmtree(stored.path.parent)
    monkeypatch.setenv("LAB_DOWNLOADS", publisher.address + "/")
    assert fetch(away).url.startswith(publisher.address + "/v1.2/")


@pytest.mark.parametrize("value", ["/nowhere/at/all", "ftp://example.invalid"])
def test_a_wrong_lab_downloads_is_refused(
    part: Part, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_DOWNLOADS", value)
    with pytest.raises(UsageError, match="neither an http"):
        fetch(part)


def test_an_unknown_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(EnvironmentLacks, match=r"not released for .* on riscv64"):
        Host.here()


@pytest.mark.parametrize("name", ["kind", "kubectl", "helm", "vault-cli"])
def test_the_pinned_programs_have_addresses_for_every_platform(name: str) -> None:
    part = find_part(name)
    releases = [
        Release(part, Host(system, arch))
        for system in ("linux", "darwin")
        for arch in ("amd64", "arm64")
    ]
    assert len({release.url for release in releases}) == 4
    for release in releases:
        assert release.url.startswith("https://")
        assert release.checksum.startswith("https://")
        assert part.version in release.url
        assert "{" not in release.url + release.checksum + release.member


SUM, OTHER = "ab" * 32, "cd" * 32


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SUM, SUM),
        (SUM.upper() + "\n", SUM),
        (f"{SUM}  tool\n", SUM),
        (f"{OTHER}  other\n{SUM} *bin/tool\n", SUM),
        (f"SHA256 (tool) = {SUM}\n", SUM),
        (f"{SUM}  other\n", None),
        (f"{SUM}  tool\n{OTHER}  tool\n", None),
        (f"{SUM}\n{OTHER}\n", None),
        ("<html>please log in</html>", None),
        ("", None),
    ],
)
def test_checksum_files_of_all_forms(text: str, found: str | None) -> None:
    assert find_sum(text, "tool") == found


def test_a_checksum_file_that_is_a_web_page_is_said(part: Part, publisher: Publisher) -> None:
    publisher.files["/v1.2/tool-linux-amd64.sum"] = b"<html>please log in</html>"
    with pytest.raises(UsageError, match="has no SHA-256 for tool-linux-amd64"):
        fetch(part)


def test_reasons_are_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(web.BROKEN) as caught:
        web.status("http://name.invalid/", 2)
    assert web.reason(caught.value) == "name not resolved"
    assert web.reason(ValueError("x")) == "ValueError"
