"""One TLS context whose certificate can be changed while it serves.

Connections that are open keep the certificate they began with; new ones get the new
one. The key is handed to OpenSSL through memory where the system can do that, so that
it lies in no file.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from standins.common.flags import BadFlag
from standins.injector.certificates import KeyPair

_VERSIONS = {
    "tls10": ssl.TLSVersion.TLSv1,
    "tls11": ssl.TLSVersion.TLSv1_1,
    "tls12": ssl.TLSVersion.TLSv1_2,
    "tls13": ssl.TLSVersion.TLSv1_3,
}


class ServingContext:
    """A server's SSL context, empty until the first `use`."""

    def __init__(self, minimum: str = "tls12", ciphers: str = "") -> None:
        self.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ssl.minimum_version = _VERSIONS[minimum]
        if ciphers:
            names = ":".join(openssl_name(name) for name in ciphers.split(","))
            try:
                self.ssl.set_ciphers(names)
            except ssl.SSLError as error:
                raise BadFlag(f"AGENT_INJECT_TLS_CIPHER_SUITES: {ciphers}: {error}") from error
        self._pair: KeyPair | None = None

    def use(self, pair: KeyPair) -> None:
        """Serve this certificate on connections that begin from now on."""
        if pair == self._pair:
            return
        with _readable(pair.key + pair.cert) as path:
            self.ssl.load_cert_chain(path)
        self._pair = pair


def openssl_name(name: str) -> str:
    """OpenSSL's name of a cipher suite given by its IANA name."""
    name = name.strip()
    if not name.startswith("TLS_"):
        return name
    exchange, _, cipher = name.removeprefix("TLS_").partition("_WITH_")
    cipher = cipher.replace("AES_128", "AES128").replace("AES_256", "AES256")
    cipher = cipher.replace("_CBC", "").replace("3DES_EDE", "DES-CBC3")
    cipher = cipher.replace("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305")
    parts = [] if exchange == "RSA" else [exchange]
    return "-".join([*parts, cipher]).replace("_", "-")


@contextmanager
def _readable(content: bytes) -> Iterator[str]:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("serving-certificate", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pair.pem")
        path.touch(mode=0o600)
        path.write_bytes(content)
        yield str(path)
