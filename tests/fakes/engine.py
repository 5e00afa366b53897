"""A container engine that answers from a table, on a Unix socket: for tests without Docker."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

DOCKER = {
    "Version": "20.10.24",
    "ApiVersion": "1.41",
    "MinAPIVersion": "1.12",
    "Os": "linux",
    "Arch": "amd64",
    "Components": [{"Name": "Engine", "Version": "20.10.24"}],
}
INFO = {"CgroupVersion": "1", "Driver": "overlay2", "DockerRootDir": "/", "SecurityOptions": []}


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    answers: dict[str, Any]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = re.sub(r"^/v[\d.]+", "", self.path.partition("?")[0])
        answer = self.server.answers.get(path)
        body = json.dumps({"message": "no such thing"} if answer is None else answer).encode()
        self.send_response(200 if answer is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"  # the address of a Unix socket's client is empty

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's own failure says enough."""


@contextmanager
def listening(socket: Path, answers: dict[str, Any]) -> Iterator[str]:
    """Serve `answers` (path without API version -> JSON value); yields a DOCKER_HOST."""
    server = _Server(str(socket), _Handler)
    server.answers = answers
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"unix://{socket}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
