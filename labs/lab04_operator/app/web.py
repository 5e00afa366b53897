"""Answers every request with the fingerprint of the password that it was started with.

With a folder /tls it speaks HTTPS with the certificate that it found there at its start.
"""

import hashlib
import os
import pathlib
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FINGERPRINT = hashlib.sha256(os.environ.get("PASSWORD", "").encode()).hexdigest()[:12]
TLS = pathlib.Path("/tls")


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


class Server(ThreadingHTTPServer):
    """Shakes hands in the thread of the connection, so that a silent client holds up nobody."""

    context: ssl.SSLContext | None = None

    def finish_request(self, request, client_address) -> None:  # type: ignore[no-untyped-def] # the base class leaves its arguments untyped
        if self.context is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(5)
        with self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, *_: object) -> None:
        """A client that goes away in the middle is its own affair."""


server = Server(("0.0.0.0", 8443 if TLS.exists() else 8080), Answer)  # noqa: S104 # in a pod
if TLS.exists():
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(TLS / "tls.crt", TLS / "tls.key")
server.serve_forever()
