"""Answers every request with the fingerprint of the password that it was started with."""

import hashlib
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FINGERPRINT = hashlib.sha256(os.environ["PASSWORD"].encode()).hexdigest()[:12]


class Answer(BaseHTTPRequestHandler):
    """One line of text."""

    def do_GET(self) -> None:
        body = f"{FINGERPRINT}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Probes come every second: no line for each."""


ThreadingHTTPServer(("0.0.0.0", 8080), Answer).serve_forever()  # noqa: S104 # in a pod
