"""The image of a secrets server: one static program and the least that runs around it.

Laid out like upstream's images, so that what runs one runs the other: the server's user
is 100:1000 and owns the folders for data, logs and configuration; the entry point takes
the program's sub-commands. A busybox gives the shell, base64 and the like that an agent
sidecar is started with. There is no package manager and no certificate bundle.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import EnvironmentLacks
from harness.base.paths import clusters
from harness.supply.offline.recipe import Job

USER, GROUP = 100, 1000
# Debian's package busybox-static.
BUSYBOX = Path("/bin/busybox")
PACKAGES = ("busybox-static",)


@dataclass(frozen=True)
class Server:
    """A server to pack: its program's name in the image, its user's name and its home."""

    program: str
    user: str
    home: str


def entry_point() -> Path:
    """The committed script that starts the server's program."""
    return clusters() / "offline" / "server" / "entrypoint"


def write(job: Job, server: Server, binary: Path) -> None:
    """Write rootfs.tar and image.json to `job.out`; equal inputs give equal files."""
    job.say("packing")
    if not BUSYBOX.is_file():
        raise EnvironmentLacks(
            "busybox is not there", where=str(BUSYBOX), hint="apt-get install busybox-static"
        )
    tools = job.run([BUSYBOX, "--list"]).split()
    with tarfile.open(job.out / "rootfs.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for folder in ("bin", "etc", "etc/ssl", "etc/ssl/certs", "root", "usr", "usr/local", "var"):
            _folder(archive, folder)
        _folder(archive, "tmp", mode=0o1777)
        _folder(archive, "home")
        for folder in (f"home/{server.user}", server.home, *_data(server)):
            _folder(archive, folder.strip("/"), owned=True)
        for name, content in _accounts(server).items():
            _file(archive, name, content.encode(), 0o644)
        _program(archive, "bin/busybox", BUSYBOX)
        for tool in tools:
            if tool != "busybox":
                _link(archive, f"bin/{tool}", "busybox")
        _program(archive, f"bin/{server.program}", binary)
        _program(archive, "bin/entrypoint", entry_point())
    config = {
        "Env": [
            "PATH=/bin",
            f"SERVER_PROGRAM={server.program}",
            f"SERVER_HOME={server.home}",
            f"HOME=/home/{server.user}",
        ],
        "Entrypoint": ["entrypoint"],
        "Cmd": ["server", "-dev"],
        # By number: a pod with runAsNonRoot can only be checked against a number.
        "User": f"{USER}:{GROUP}",
        "WorkingDir": "/",
        "ExposedPorts": {"8200/tcp": {}},
    }
    (job.out / "image.json").write_text(json.dumps(config), encoding="utf-8")


def _data(server: Server) -> Iterable[str]:
    return (f"{server.home}/{name}" for name in ("config", "data", "file", "logs"))


def _accounts(server: Server) -> dict[str, str]:
    user = server.user
    return {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
        f"{user}:x:{USER}:{GROUP}:{user}:/home/{user}:/bin/sh\n",
        "etc/group": f"root:x:0:\n{user}:x:{GROUP}:\n",
        "etc/nsswitch.conf": "hosts: files dns\n",
    }


def _folder(archive: tarfile.TarFile, name: str, *, mode: int = 0o755, owned: bool = False) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    if owned:
        entry.uid, entry.gid = USER, GROUP
    archive.addfile(entry)


def _file(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _program(archive: tarfile.TarFile, name: str, source: Path) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = source.stat().st_size, 0o755
    with source.open("rb") as content:
        archive.addfile(entry, content)


def _link(archive: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)
