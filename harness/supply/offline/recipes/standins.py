"""The one image of the stand-ins: Debian with Python, their libraries, their source and one
program of ours, the operator's template engine (recipe `gotemplate`).

The online supply builds its equal on the publisher's Debian (clusters/online/standins).

Its key covers every file of `standins/`, so an edit there gives a new image. Everything is
compiled to bytecode here, because their containers run with a read-only root file system
and would compile at every start. Nothing is fetched when a container starts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable

from harness.supply import libraries, oci, standin_files
from harness.supply.offline import debian
from harness.supply.offline.recipe import Job, Recipe

PACKAGES = ("python3",)
USER = 1000
# Where the package `standins` lies in the image; PYTHONPATH names it.
HOME = "opt"
# What the interpreter compiles: without checking times, which `pack` sets to zero.
_COMPILE = ("python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")


class Standins(Recipe):
    """Leaves `rootfs.tar` and `image.json`."""

    name = "standins"
    needs = ("base", standin_files.GO_PROGRAM)

    def inputs(self) -> Iterable[str]:
        yield "5"
        yield from PACKAGES
        yield libraries.wanted(standin_files.library_list())
        yield from standin_files.digests()

    def build(self, job: Job) -> None:
        root = job.work / "root"
        job.say("installing Python")
        debian.unpack(job, job.needs["base"] / "rootfs.tar", root)
        debian.install(job, root, PACKAGES)
        debian.add_user(root, "standin", USER)
        debian.clean(root)
        job.say("fetching its Python libraries")
        site = job.work / "site"
        libraries.fetch(site, oci.architecture(), standin_files.library_list())
        packages = f"usr/local/lib/python{libraries.PYTHON}/dist-packages"
        shutil.copytree(site, root / packages, dirs_exist_ok=True)
        standin_files.copy(root / HOME)
        program = standin_files.GO_PROGRAM
        programs = root / "usr/local/bin"
        programs.mkdir(parents=True, exist_ok=True)
        shutil.copy(job.needs[program] / "bin" / program, programs / program)
        job.say("compiling")
        # Python's own modules, too: debian.clean took their bytecode out.
        folders = (f"/usr/lib/python{libraries.PYTHON}", f"/{packages}", f"/{HOME}")
        job.run([*debian.NAMESPACE, "chroot", root, *_COMPILE, *folders])
        job.say("packing")
        debian.pack(job, root, job.out / "rootfs.tar")
        config = {
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                f"PYTHONPATH=/{HOME}",
                "PYTHONUNBUFFERED=1",
                "PYTHONDONTWRITEBYTECODE=1",
            ],
            # By number: a pod with runAsNonRoot can only be checked against a number.
            "User": f"{USER}:{USER}",
            "WorkingDir": "/home/standin",
        }
        (job.out / "image.json").write_text(json.dumps(config), encoding="utf-8")
        debian.remove(root)


recipe = Standins()
