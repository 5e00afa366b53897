"""nginx from Debian, alone with what it is linked against: 12 MB, no shell, no package manager.

Whoever runs it brings the configuration. It runs as any user, on a read-only root file
system: the configuration then names a writable folder for its temporary files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import LabError
from harness.supply import oci
from harness.supply.base import find_part
from harness.supply.offline import debian
from harness.supply.offline.recipe import Job, Recipe

PROGRAM = "usr/sbin/nginx"
MIME_TYPES = "etc/nginx/mime.types"
USER = 101  # upstream's number for it


class Nginx(Recipe):
    """Leaves `rootfs.tar` and `image.json`."""

    name = "nginx"
    needs = ("base",)

    def inputs(self) -> Iterable[str]:
        return ["1", find_part("nginx").version]

    def build(self, job: Job) -> None:
        root = job.work / "root"
        job.say("installing nginx")
        debian.unpack(job, job.needs["base"] / "rootfs.tar", root)
        debian.install(job, root, ["nginx"])
        _check_version(job, root)
        job.say("packing")
        linked = job.run([*debian.NAMESPACE, "chroot", root, "ldd", f"/{PROGRAM}"])
        libraries = libraries_of(linked)
        files = {name: (root / name).resolve() for name in (PROGRAM, MIME_TYPES, *libraries)}
        licences = {str(f.relative_to(root)): f for f in copyrights(root, files)}
        accounts = job.work / "passwd"
        accounts.write_text(f"nginx:x:{USER}:{USER}:nginx:/:/sbin/nologin\n", encoding="ascii")
        oci.write_layer(
            job.out / "rootfs.tar",
            {**files, **licences, "etc/passwd": accounts},
            folders=["tmp"],
        )
        config = {
            "Env": ["PATH=/usr/sbin"],
            "Cmd": ["nginx", "-e", "stderr", "-g", "daemon off;"],
            # By number: a pod with runAsNonRoot can only be checked against a number.
            "User": f"{USER}:{USER}",
            # SIGTERM drops open connections; this one lets them end.
            "StopSignal": "SIGQUIT",
        }
        (job.out / "image.json").write_text(json.dumps(config), encoding="utf-8")
        debian.remove(root)


def libraries_of(output: str) -> list[str]:
    """The files that `ldd` names, the loader among them, without the leading slash."""
    return sorted({path.lstrip("/") for path in re.findall(r"(/\S+) \(0x[0-9a-f]+\)", output)})


def copyrights(root: Path, files: Iterable[str]) -> list[Path]:
    """The copyright files of the packages that `files` are from: an image says what it is."""
    wanted = {Path(name).name for name in files}
    found = []
    for listing in sorted((root / "var/lib/dpkg/info").glob("*.list")):
        names = {Path(line).name for line in listing.read_text("utf-8").splitlines()}
        text = root / "usr/share/doc" / listing.stem.partition(":")[0] / "copyright"
        if wanted & names and text.is_file():
            found.append(text)
    return found


def _check_version(job: Job, root: Path) -> None:
    said = job.run([*debian.NAMESPACE, "chroot", root, f"/{PROGRAM}", "-V"])
    wanted = find_part("nginx").version
    if f"nginx/{wanted}" not in said:
        raise LabError(
            f"Debian's nginx is not {wanted}: {said.partition(chr(10))[0]}",
            where="clusters/versions.toml",
            hint="pin the version that this Debian has",
        )


recipe = Nginx()
