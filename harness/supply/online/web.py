"""Opening a file of the outside, over HTTP or in a folder, with errors in words.

A download of a pinned file needs what `requests` leaves to its caller: a limit on every
wait, the refusal of a redirect from https to plain http, going on in the middle of a file
and one sentence in place of a chain of nested exceptions. Trying again and comparing
checksums are the caller's.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
import urllib3
from requests.auth import AuthBase

from harness.base.errors import EnvironmentLacks
from harness.supply.online import company

# What a connection that fails before or in the middle of a body may raise.
BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)

CONNECT_SECONDS = 10.0
# The longest silence in the middle of a body before the connection counts as dead.
READ_SECONDS = 30.0
CHUNK = 64 * 1024

NO_TLS = "TLS failed"
# What of the nested exceptions' text helps a person, in the order in which it is looked for.
_REASONS = (
    (r"redirects to plain http", "it redirects to plain http"),
    (r"CERTIFICATE_VERIFY_FAILED", "its TLS certificate is not trusted here"),
    (r"ProxyError|Tunnel connection failed", "the proxy refused"),
    (r"SSLError|SSLEOFError|WRONG_VERSION_NUMBER", NO_TLS),
    (r"NameResolutionError|Name or service not known", "name not resolved"),
    (r"Connection refused", "connection refused"),
    (r"No route to host|Network is unreachable", "network unreachable"),
    (r"[Tt]imed out|TimeoutError", "no answer in time"),
    (r"IncompleteRead|Connection broken|reset by peer|RemoteDisconnected|aborted",
     "the connection broke off"),
)  # fmt: skip
_FINAL_ANSWERS = {
    401: "asks for a login",
    403: "refuses the file",
    404: "has no such file",
    410: "has no such file any more",
    429: "has had too many requests from this address",
}


@dataclass(frozen=True)
class Body:
    """An open file: its whole `size` in bytes (0: unknown), where it starts, its chunks."""

    size: int
    start: int
    chunks: Iterator[bytes]


def reason(error: BaseException) -> str:
    """Why a request failed, in a few words."""
    seen: list[str] = []
    link: BaseException | None = error
    while link is not None and len(seen) < 10:
        if isinstance(link, socket.gaierror):
            return "name not resolved"
        seen.append(f"{type(link).__name__}: {link}")
        link = link.__cause__ or link.__context__
    text = "\n".join(seen)
    for pattern, words in _REASONS:
        if re.search(pattern, text):
            return words
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"it answers {error.response.status_code}"
    return type(error).__name__


def status(url: str, seconds: float) -> int:
    """The status of `HEAD url`, not following redirects; each wait is at most `seconds`."""
    with company.session(url) as session:
        return session.head(url, timeout=seconds, allow_redirects=False).status_code


@contextmanager
def open_file(place: str, offset: int = 0) -> Iterator[Body]:
    """Open the file at `place` (an http(s) URL or a path) from byte `offset` on.

    A server may ignore the offset: look at `start`. Raises one of BROKEN where another
    try may help, EnvironmentLacks where the answer is final (there is no such file).
    """
    if "://" not in place:
        with _open_local(Path(place)) as file:
            file.seek(offset)
            size = Path(place).stat().st_size
            yield Body(size, offset, iter(lambda: file.read(CHUNK), b""))
        return
    with company.session(place) as session:
        session.auth = _login(place)
        response = _ask(session, place, offset)
        if response.status_code == requests.codes.requested_range_not_satisfiable and offset:
            response.close()
            response = _ask(session, place, 0)
        with response:
            _raise_for_status(response, place)
            size, start = _extent(response, offset)
            yield Body(size, start, response.iter_content(CHUNK))


@contextmanager
def opened(url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
    """The answer of a registry to `url`, whatever its status is."""
    with company.session(url) as session:
        session.auth = _login(url)
        limits = (CONNECT_SECONDS, READ_SECONDS)
        with session.get(url, headers=dict(headers), stream=True, timeout=limits) as response:
            yield response


def _login(url: str) -> AuthBase | None:
    """What answers a registry that asks for a login; other servers are told none."""
    parts = urlsplit(url)
    return company.RegistryLogin(parts.netloc) if parts.path.startswith("/v2/") else None


def _ask(session: requests.Session, url: str, offset: int) -> requests.Response:
    # "identity": a checksum is over the file, not over a compressed form of it.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    limits = (CONNECT_SECONDS, READ_SECONDS)
    response = session.get(url, headers=headers, stream=True, timeout=limits)
    hops = (*response.history, response)
    if url.startswith("https:") and not all(hop.url.startswith("https:") for hop in hops):
        response.close()
        raise requests.exceptions.InvalidURL(f"{url} redirects to plain http")
    return response


def _extent(response: requests.Response, offset: int) -> tuple[int, int]:
    """Size of the whole file and the first byte that this response brings."""
    if response.status_code != requests.codes.partial_content:
        return int(response.headers.get("Content-Length", 0)), 0
    sent = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", sent)
    if not match or int(match[1]) != offset:
        raise requests.exceptions.ContentDecodingError(f"Content-Range {sent!r} was not asked for")
    return (0 if match[2] == "*" else int(match[2])), offset


def _raise_for_status(response: requests.Response, url: str) -> None:
    code = response.status_code
    if code < requests.codes.bad_request:
        return
    if code >= requests.codes.internal_server_error:
        response.raise_for_status()
    answer = _FINAL_ANSWERS.get(code, "does not give the file")
    raise EnvironmentLacks(
        f"{urlsplit(url).netloc} {answer} (status {code})",
        where=url,
        hint="look at the address in a browser; LAB_DOWNLOADS=URL-or-folder names a copy",
    )


@contextmanager
def _open_local(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise EnvironmentLacks(
            f"the file cannot be read: {error.strerror}",
            where=str(path),
            hint="LAB_DOWNLOADS names a folder with the publishers' files under their own paths",
        ) from error
    with file:
        yield file
