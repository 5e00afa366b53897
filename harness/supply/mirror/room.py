"""The speaker's side: getting ready what a room mirror serves, and its certificates.

Frames and layers are kept below the cache and are made once; the CA and the clone are in the state
folder. The CA stays the same when the mirror is started again, so that the line on the slide and
everybody who has joined stay right.
"""

from __future__ import annotations

import ipaddress
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base import certs, process, statefile
from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.paths import CHECKOUT, cache_root
from harness.base.progress import Progress
from harness.supply.base import Provided
from harness.supply.bundle import format as form
from harness.supply.bundle import save, wheels
from harness.supply.bundle.writing import writing
from harness.supply.mirror import index, registry
from harness.supply.mirror.content import Table, table
from harness.supply.mirror.server import Server

TASK = "mirror"
DEFAULT = "127.0.0.1:8443"
# An address of the documentation's block (RFC 5737): it is not asked, only routed to.
_ELSEWHERE = ("192.0.2.1", 9)
_GIT_SECONDS = 120.0


@dataclass(frozen=True)
class Room:
    """A mirror that is ready: what it says about itself, what it serves."""

    found: index.Index
    paths: Table

    @property
    def size(self) -> int:
        """The bytes that a machine with nothing fetches, without the clone."""
        records = sum(record.size for record in self.found.manifest.records)
        blobs = {
            name.rpartition("/")[2]: resource.size
            for name, resource in self.paths.items()
            if "/blobs/" in name and self.found.manifest.supply == "online"
        }
        return records + sum(blobs.values())


def parse_listen(text: str) -> tuple[str, int]:
    """The address and port of --listen. Raises UsageError; all addresses at once are refused."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise UsageError(
            f"{text!r} is not an address and a port",
            where="--listen",
            hint=f"--listen {own_address()}:8443",
        )
    if address.is_unspecified:
        raise UsageError(
            f"{host} stands for every network of this machine",
            where="--listen",
            hint=f"name the address of the room's network: --listen {own_address()}:8443",
        )
    return str(address), int(port)


def own_address() -> str:
    """This machine's address in the network of its default route; the loopback's without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def url_of(address: tuple[str, int]) -> str:
    """The URL of a mirror at this address."""
    host, port = address
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def prepare(
    supply: str, provided: Mapping[str, Provided], labs: Sequence[str], progress: Progress
) -> Room:
    """Make everything that the mirror serves of these parts, the wheels and this checkout."""
    progress.start(TASK, "looking for the Python packages")
    with writing(progress, TASK, "what the mirror serves"):
        packages = wheels.ensure()
        work = cache_root() / "room" / "frames"
        work.mkdir(parents=True, exist_ok=True)
        wanted = save.offline(provided) if supply == "offline" else save.online(provided)
        # Images have the registry.
        frames = [frame for frame in wanted if frame.kind != form.IMAGES]
        with statefile.exclusively(work):
            made = list(save.written(work, frames, TASK, progress))
            images = list(_images(supply, provided, progress))
        progress.update(TASK, "copying the clone")
        repository = _clone()
        listed = [save.record_of(form.WHEEL, file.name, file) for file in packages]
        listed += [record for record, _ in made]
        manifest = replace(save.manifest_of(supply, provided, labs), records=tuple(listed))
    found = index.Index(manifest, tuple(image.entry for image in images))
    certificates()
    frames_by_sum = {record.sha256: file for record, file in made}
    ca = folder() / "ca.crt"
    room = Room(found, table(ca, found, frames_by_sum, packages, images, repository))
    progress.done(TASK, f"{room.size / 1e6:.0f} MB to serve")
    return room


def _nobody(address: str) -> None:
    """No one listens to who joins."""


def serving(
    paths: Table, address: tuple[str, int], seen: Callable[[str], None] = _nobody
) -> Server:
    """A server at this address that is not running yet. Raises EnvironmentLacks."""
    certificate, key = _server_certificate(address[0])
    try:
        return Server(address, paths, certificate, key, seen)
    except OSError as error:
        raise EnvironmentLacks(
            f"the mirror cannot listen on {address[0]}, port {address[1]}: {error.strerror}",
            where="--listen",
            hint=f"name an address of this machine and a free port: --listen {own_address()}:8444",
        ) from error


def folder() -> Path:
    """Where the mirror's certificates, keys and clone are."""
    return index.folder() / "server"


def certificates() -> str:
    """The fingerprint of the mirror's CA, which is made when there is none."""
    place = folder()
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca, key = place / "ca.crt", place / "ca.key"
    if not (ca.is_file() and key.is_file()):
        certs.make_ca("kube-vault-labs room mirror", ca, key)
    return index.fingerprint_of(ca.read_text(encoding="ascii"))


def _server_certificate(host: str) -> tuple[Path, Path]:
    certificates()
    place = folder()
    certificate, key = place / "server.crt", place / "server.key"
    certs.issue(place / "ca.crt", place / "ca.key", [host], certificate, key, 0o600)
    return certificate, key


def _images(
    supply: str, provided: Mapping[str, Provided], progress: Progress
) -> Sequence[registry.Served]:
    found = []
    for part in provided.values():
        if not part.image:
            continue

        def say(doing: str, name: str = part.part) -> None:
            progress.update(TASK, f"image {name}: {doing}")

        say("looking")
        if supply == "offline":
            found.append(registry.from_cache(part))
        else:
            found.append(registry.from_engine(part, say))
    return found


def _clone() -> Path | None:
    """A bare clone of this checkout's commit that can be read as files; None without git."""
    if not save.commit_here():
        return None
    target = folder() / "repository.git"
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.rmtree(target, ignore_errors=True)
    commands: tuple[list[str | Path], ...] = (
        ["clone", "--quiet", "--bare", "--no-local", "--single-branch", CHECKOUT, target],
        # Where it lies on this machine is not for the room.
        ["-C", target, "remote", "remove", "origin"],
        ["-C", target, "update-server-info"],
    )
    for words in commands:
        process.run(["git", *words], timeout=_GIT_SECONDS)
    return target
