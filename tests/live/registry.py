"""A real container registry on the loopback, filled with images under upstream's names.

The program is Debian's `docker-registry`; an engine pulls from 127.0.0.0/8 without TLS, so
nothing of the engine's configuration is touched. Everything that a registry holds lies in
the folder that it is given, and nothing of it stays in the engine.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from harness.base import certs, process
from harness.base.errors import EnvironmentLacks
from harness.base.wait import wait_for
from harness.supply.engine import engine
from harness.supply.online.registries import Reference

PACKAGE = "docker-registry"
_CONFIG = """\
version: 0.1
log: {{level: info, formatter: text, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:0"{tls}}}
"""
# A login that is made up, and its password's bcrypt sum, which is the one kind that it reads.
USER, PASSWORD = "ann", "made-up-password"
_SUM = "$2b$05$abcdefghijklmnopqrstuuJgtjjEyKgAjLKfyMzQrXVWZG2QMxka."


@dataclass(frozen=True)
class Registry:
    """A running registry. `address` is host:port, `storage` the folder with its content."""

    address: str
    storage: Path

    def put(self, upstream: str, local: str, prefix: str = "") -> str:
        """Push the engine's image `local` under the path and tag of `upstream`; its digest."""
        target = Reference.parse(upstream).through(f"{self.address}{prefix}")
        client = engine.client()
        try:
            client.images.get(local).tag(target.repository, target.tag)
            try:
                digest = _push(client, target)
            finally:
                _untag(client, str(target))
        finally:
            client.close()
        return digest


@contextmanager
def filled_registry(images: Mapping[str, str], folder: Path) -> Iterator[Registry]:
    """A registry in `folder` that serves `images`: upstream's reference -> image in the engine.

    Set LAB_MIRROR to its `address` and the online supply pulls from it.
    """
    with running(folder) as registry:
        for upstream, local in images.items():
            registry.put(upstream, local)
        yield registry


@contextmanager
def running(folder: Path, *, guarded: bool = False) -> Iterator[Registry]:
    """An empty registry on a free port of 127.0.0.1, ended with the block.

    `guarded`: with TLS by a CA of its own, `folder`/ca.crt, and the one login of this module.
    """
    program = installed(PACKAGE)
    storage, log = folder / "storage", folder / "registry.log"
    config = folder / "config.yml"
    folder.mkdir(parents=True, exist_ok=True)
    text = _CONFIG.format(root=storage, tls=_tls(folder) if guarded else "")
    if guarded:
        logins = folder / "htpasswd"
        logins.write_text(f"{USER}:{_SUM}\n", encoding="ascii")
        text += f"auth: {{htpasswd: {{realm: a company, path: {logins}}}}}\n"
    config.write_text(text, encoding="utf-8")
    with log.open("wb") as sink, ExitStack() as stack:
        server = stack.enter_context(
            subprocess.Popen(
                [program, "serve", str(config)],
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        )
        stack.callback(process.end_group, server)

        def address() -> str | None:
            found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text(encoding="utf-8"))
            if server.poll() is not None:
                raise EnvironmentLacks(
                    f"the registry ended with status {server.returncode}", where=str(log)
                )
            return found[1] if found else None

        found = wait_for("the registry to listen", address, timeout=20, every=0.05)
        assert found is not None  # wait_for returns true values only
        yield Registry(found, storage)


def _tls(folder: Path) -> str:
    ca, key = folder / "ca.crt", folder / "ca.key"
    certs.make_ca("a company", ca, key)
    pair = folder / "server.crt", folder / "server.key"
    certs.issue(ca, key, ["127.0.0.1"], *pair, 0o600)
    return f", tls: {{certificate: {pair[0]}, key: {pair[1]}}}"


@contextmanager
def relay(target: str, *, cut_after: int) -> Iterator[tuple[str, threading.Event]]:
    """A TCP relay to `target` whose connections break after `cut_after` bytes of answer.

    Yields its address and an event: once that is set, connections are whole again.
    """
    healed = threading.Event()
    host, _, port = target.partition(":")
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(4096):
                sink.sendall(data)
                passed += len(data)
                if limit is not None and passed > limit:
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((host, int(port)))
                limit = None if healed.is_set() else cut_after
                for pair in ((near, far, None), (far, near, limit)):
                    threading.Thread(target=copy, args=pair, daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", healed
    finally:
        # shutdown, not only close: it is what wakes the thread that waits in accept.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def installed(package: str) -> str:
    """The program that this Debian package brings under its own name; installed if it can be."""
    found = shutil.which(package)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        process.run(["apt-get", "update", "-q"], env=quiet, timeout=300)
        process.run(
            ["apt-get", "install", "-y", "-q", "--no-install-recommends", package],
            env=quiet,
            timeout=300,
        )
        found = shutil.which(package)
    if found is None:
        raise EnvironmentLacks(
            f"the program {package} is not here", hint=f"sudo apt-get install {package}"
        )
    return found


def _push(client: docker.DockerClient, target: Reference) -> str:
    for event in client.api.push(target.repository, tag=target.tag, stream=True, decode=True):
        if "error" in event:
            raise EnvironmentLacks(f"the push of {target} failed: {event['error']}")
        if "Digest" in event.get("aux", {}):
            return str(event["aux"]["Digest"])
    raise EnvironmentLacks(f"the push of {target} ended without a digest")


def _untag(client: docker.DockerClient, reference: str) -> None:
    """Take a name off an image that has another one: the image itself stays."""
    with suppress(ImageNotFound):
        client.images.remove(reference, noprune=True)
