"""The server of a room mirror: GET and HEAD of what its table has, over TLS, and nothing else.

It listens on the one address that it is given. Every connection has a thread of its own, in which
the TLS handshake happens too: a client that stalls holds nobody else up.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any
from urllib.parse import unquote, urlsplit

from harness.supply.mirror import content, index
from harness.supply.mirror.content import Resource, Table

# The longest silence of a client before its connection is given up.
SECONDS = 60.0
CHUNK = 1 << 18
LARGEST_BODY = 1 << 16
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Server(ThreadingHTTPServer):
    """Serves `paths` at `address` with this certificate; `seen` hears who takes the index."""

    daemon_threads = True
    # A room of people who press Enter at once.
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(
        self,
        address: tuple[str, int],
        paths: Table,
        certificate: Path,
        key: Path,
        seen: Callable[[str], None],
    ) -> None:
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        self.paths, self.seen = paths, seen
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.load_cert_chain(certificate, key)
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake and the requests of one connection, in its thread."""
        request.settimeout(SECONDS)
        with self._context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, spoke plain HTTP or distrusts the certificate is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "kube-vault-labs", ""
    timeout = SECONDS

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def _refuse(self) -> None:
        path = urlsplit(self.path).path
        registry = path.startswith(content.REGISTRY)
        answer = (
            content.registry_error("UNSUPPORTED", "this registry is read-only")
            if registry
            else Resource(b"read-only\n", "text/plain")
        )
        # A small body is read and forgotten, or its sender may never see the answer. Of a large
        # one the rest is not waited for: the connection ends here.
        length = self.headers.get("Content-Length", "")
        self.rfile.read(min(int(length), LARGEST_BODY) if length.isdigit() else 0)
        self.close_connection = True
        self._head(HTTPStatus.METHOD_NOT_ALLOWED, answer, answer.size, {"Allow": "GET, HEAD"})
        assert isinstance(answer.content, bytes)
        self.wfile.write(answer.content)

    do_PUT = do_POST = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _serve(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        found = self.server.paths.get(path)
        if found is None:
            missing = content.not_found(path)
            self._head(HTTPStatus.NOT_FOUND, missing, missing.size)
            if with_body:
                assert isinstance(missing.content, bytes)
                self.wfile.write(missing.content)
            return
        if path == index.INDEX:
            self.server.seen(str(self.client_address[0]))
        try:
            size = found.size
        except OSError:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        span = _span(self.headers.get("Range", ""), size)
        if span is None:
            extra = {"Content-Range": f"bytes */{size}"}
            self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, found, 0, extra)
            return
        start, end = span
        partial = (start, end) != (0, size)
        extra = {"Content-Range": f"bytes {start}-{end - 1}/{size}"} if partial else {}
        status = HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK
        self._head(status, found, end - start, extra)
        if with_body:
            for chunk in _pieces(found.content, start, end):
                self.wfile.write(chunk)

    def _head(
        self, status: HTTPStatus, found: Resource, size: int, extra: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": found.kind,
            "Content-Length": str(size),
            "Accept-Ranges": "bytes",
            **found.headers,
            **(extra or {}),
        }
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # the base class's name
        """Thirty people's requests are no text to read."""


def _span(asked: str, size: int) -> tuple[int, int] | None:
    """First byte and the byte after the last, None for a range that the file does not have.

    A header of another form, or several ranges at once, is left aside (RFC 9110, 14.2).
    """
    match = _RANGE.fullmatch(asked.strip())
    if not match or not (match[1] or match[2]):
        return 0, size
    if not match[1]:
        length = int(match[2])
        return (max(0, size - length), size) if length else None
    start, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
    if start >= size:
        return None
    return (start, end) if start < end else (0, size)


def _pieces(source: bytes | Path, start: int, end: int) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source[start:end]
        return
    with source.open("rb") as file:
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK, end - start))):
            start += len(chunk)
            yield chunk
