"""Asking a room mirror: over TLS, with the mirror's own CA and no other.

The system's certificates are not asked, and no proxy: the mirror is in the same room. A download
goes on where it stopped and counts only when its sum is right. Nothing but the standard library is
imported, for the same reason as in harness.supply.mirror.index.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from harness.base import statefile
from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.wait import pause
from harness.supply.mirror.index import WAY_OUT, fingerprint_of

Say = Callable[[str], None]

SECONDS = 20.0
CHUNK = 1 << 18
# A server that is started again is back within a few seconds.
TRIES_IN_VAIN = 4
BETWEEN_TRIES_SECONDS = 1.0
LARGEST_ANSWER = 32 << 20
_BROKEN = (OSError, http.client.HTTPException)


class Connection:
    """Questions to the mirror at `url`, whose CA is in `ca`."""

    def __init__(self, url: str, ca: Path) -> None:
        self.url = url.rstrip("/")
        try:
            self._context = ssl.create_default_context(cafile=str(ca))
        except OSError as error:
            raise UsageError(
                f"the mirror's certificate cannot be read: {error.strerror or error}",
                where=str(ca),
                hint="join again with the line on the slide, or " + WAY_OUT,
            ) from error
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2

    def get(self, path: str) -> bytes:
        """The answer to a small question. Raises LabError."""
        try:
            return _read(self.url, path, self._context)
        except _BROKEN as error:
            raise _failure(self.url, error) from error

    def download(self, path: str, size: int, sha256: str, target: Path, say: Say) -> None:
        """Fill `target` with the file at `path`, from what is there or from the start.

        Raises EnvironmentLacks when the mirror goes away, UsageError when it serves something
        else than the index says; then nothing is left of it.
        """
        in_vain = 0
        while (before := _size(target)) < size:
            try:
                self._append(path, before, size, target, say)
                broken: Exception = ConnectionError("the connection broke off")
            except ssl.SSLCertVerificationError as error:
                raise _failure(self.url, error) from error
            except _BROKEN as error:
                broken = error
            in_vain = 0 if _size(target) > before else in_vain + 1
            if in_vain >= TRIES_IN_VAIN:
                raise _failure(self.url, broken) from broken
            if _size(target) < size:
                say(f"{_reason(broken)}, trying again")
                pause(BETWEEN_TRIES_SECONDS)
        if _size(target) != size or statefile.file_sha256(target) != sha256:
            target.unlink()
            raise UsageError(
                f"the mirror serves {path} altered: its SHA-256 sum is not that of the index",
                where=self.url,
                hint="nothing of it was kept; ask the person who runs the mirror, or " + WAY_OUT,
            )

    def _append(self, path: str, start: int, size: int, target: Path, say: Say) -> None:
        asked = _opened(self.url, self._context)
        try:
            asked.request("GET", path, headers={"Range": f"bytes={start}-"} if start else {})
            answer = asked.getresponse()
            _require_found(answer, self.url, path)
            partial = answer.status == http.client.PARTIAL_CONTENT
            done = start if partial else 0
            with target.open("r+b" if target.exists() else "wb") as file:
                file.seek(done)
                file.truncate()
                while done < size and (chunk := answer.read(min(CHUNK, size - done))):
                    file.write(chunk)
                    done += len(chunk)
                    say(f"{done / 1e6:.1f} of {size / 1e6:.1f} MB")
        finally:
            asked.close()


def parse_url(url: str) -> str:
    """The address of a mirror as it is kept. Raises UsageError for what is none."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme == "https" and parts.hostname and parts.port is not None
    except ValueError:
        usable = False
    if not usable or parts.path.strip("/") or parts.query or parts.username:
        raise UsageError(
            f"{url} is not the address of a mirror",
            where="URL",
            hint="it has the form https://ADDRESS:PORT: copy the line that ./lab mirror serve"
            " prints",
        )
    return f"https://{parts.netloc}"


def ca_of(url: str, path: str, fingerprint: str) -> str:
    """The CA that the mirror at `url` shows (PEM), when it has this fingerprint.

    The connection is not trusted: nothing but the fingerprint decides. Raises LabError.
    """
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    try:
        sent = _read(url, path, unverified).decode("ascii")
        # Written again from what was hashed: behind its padding the text may hold another
        # certificate, which the sum does not cover.
        ca = ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(sent))
        shown = fingerprint_of(ca)
    except _BROKEN as error:
        raise _failure(url, error) from error
    except ValueError as error:
        raise _no_mirror(url) from error
    if shown != fingerprint:
        raise UsageError(
            f"the mirror's certificate has another fingerprint: SHA256:{shown}",
            where=url,
            hint="nothing was trusted or fetched; compare address and fingerprint with the slide",
        )
    return ca


def _opened(url: str, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    parts = urlsplit(url)
    assert parts.hostname, "parse_url refuses an address without a host"
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=SECONDS, context=context)


def _read(url: str, path: str, context: ssl.SSLContext) -> bytes:
    asked = _opened(url, context)
    try:
        asked.request("GET", path)
        answer = asked.getresponse()
        _require_found(answer, url, path)
        content = answer.read(LARGEST_ANSWER + 1)
    finally:
        asked.close()
    if len(content) > LARGEST_ANSWER:
        raise _no_mirror(url)
    return content


def _require_found(answer: http.client.HTTPResponse, url: str, path: str) -> None:
    if answer.status in (http.client.OK, http.client.PARTIAL_CONTENT):
        return
    if answer.status >= http.client.INTERNAL_SERVER_ERROR:
        raise http.client.HTTPException(f"it answers {answer.status}")
    raise UsageError(
        f"the mirror does not have {path} (status {answer.status})",
        where=url,
        hint="is it the address on the slide? the mirror may have been started with other labs:"
        " the same command again",
    )


def _no_mirror(url: str) -> UsageError:
    return UsageError(
        "what answers there is not a mirror of the labs",
        where=url,
        hint="compare the address with the line that ./lab mirror serve prints",
    )


def _failure(url: str, error: Exception) -> UsageError | EnvironmentLacks:
    if isinstance(error, ssl.SSLCertVerificationError):
        return UsageError(
            f"the mirror shows a certificate that its CA did not sign: {error.verify_message}",
            where=url,
            hint="join again with the line on the slide: ./lab mirror join URL --fingerprint ...",
        )
    return EnvironmentLacks(
        f"the mirror does not answer (any more): {_reason(error)}",
        where=url,
        hint=f"the same command again goes on where this one stopped; {WAY_OUT}",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "name not resolved"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS, or broke off"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "the connection broke off" if not str(error).startswith("it ") else str(error)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
