"""What the labs' pods run: Debian with a shell, curl, jq and Python with the labs' libraries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable

from harness.supply import libraries, oci
from harness.supply.offline import debian
from harness.supply.offline.recipe import Job, Recipe

PACKAGES = ("curl", "jq", "python3")
USER = 1000


class App(Recipe):
    """Leaves `rootfs.tar` and `image.json`; equal in use to the image of clusters/online/app."""

    name = "app"
    needs = ("base",)

    def inputs(self) -> Iterable[str]:
        return ["1", *PACKAGES, libraries.wanted()]

    def build(self, job: Job) -> None:
        root = job.work / "root"
        job.say("installing Python, curl and jq")
        debian.unpack(job, job.needs["base"] / "rootfs.tar", root)
        debian.install(job, root, PACKAGES)
        debian.add_user(root, "app", USER)
        debian.clean(root)
        job.say("fetching its Python libraries")
        site = job.work / "site"
        libraries.fetch(site, oci.architecture())
        shutil.copytree(
            site, root / f"usr/local/lib/python{libraries.PYTHON}/dist-packages", dirs_exist_ok=True
        )
        job.say("packing")
        debian.pack(job, root, job.out / "rootfs.tar")
        config = {
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "PYTHONUNBUFFERED=1",
            ],
            "Cmd": ["sleep", "infinity"],
            # By number: a pod with runAsNonRoot can only be checked against a number.
            "User": f"{USER}:{USER}",
            "WorkingDir": "/home/app",
        }
        (job.out / "image.json").write_text(json.dumps(config), encoding="utf-8")
        debian.remove(root)


recipe = App()
