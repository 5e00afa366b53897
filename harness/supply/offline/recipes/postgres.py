"""PostgreSQL 15 from Debian, started like upstream's image is (the same variables)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from harness.base import paths
from harness.supply.base import find_part
from harness.supply.offline import debian
from harness.supply.offline.recipe import Job, Recipe

# Upstream's number, so that volumes fit both images.
USER = 999
# Compiled queries (JIT) and the compiler they need: 130 MB that a lab does not miss. The
# server finds the provider absent and goes on without it.
UNUSED = ("usr/lib/*/libLLVM*", "usr/lib/*/libz3*", "usr/lib/postgresql/*/lib/llvmjit*")
UNUSED_FOLDERS = ("usr/lib/postgresql/*/lib/bitcode", "usr/lib/llvm-*")


class Postgres(Recipe):
    """Leaves `rootfs.tar` and `image.json`."""

    name = "postgres"
    needs = ("base",)

    def inputs(self) -> Iterable[str]:
        return ["1", find_part("postgres").version, _entrypoint().read_text("utf-8")]

    def build(self, job: Job) -> None:
        root = job.work / "root"
        version = find_part("postgres").version
        job.say(f"installing PostgreSQL {version}")
        debian.unpack(job, job.needs["base"] / "rootfs.tar", root)
        debian.add_user(root, "postgres", USER, home="var/lib/postgresql")
        # Debian makes a database cluster while it installs; this image makes one at start.
        settings = root / "etc/postgresql-common/createcluster.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text("create_main_cluster = false\n", encoding="ascii")
        debian.install(job, root, [f"postgresql-{version}"])
        for pattern in UNUSED:
            for file in root.glob(pattern):
                file.unlink()
        for pattern in UNUSED_FOLDERS:
            for folder in root.glob(pattern):
                shutil.rmtree(folder)
        debian.clean(root)
        entrypoint = root / "usr/local/bin/docker-entrypoint.sh"
        shutil.copyfile(_entrypoint(), entrypoint)
        entrypoint.chmod(0o755)
        (root / "docker-entrypoint-initdb.d").mkdir()
        for name in ("var/lib/postgresql/data", "run/postgresql"):
            (root / name).mkdir(parents=True, exist_ok=True)
            os.chown(root / name, USER, USER)
        job.say("packing")
        debian.pack(job, root, job.out / "rootfs.tar")
        programs = f"/usr/lib/postgresql/{version}/bin"
        config = {
            "Env": [
                f"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{programs}",
                "LANG=C.UTF-8",
                "PGDATA=/var/lib/postgresql/data",
            ],
            "Entrypoint": ["docker-entrypoint.sh"],
            "Cmd": ["postgres"],
            "ExposedPorts": {"5432/tcp": {}},
            "Volumes": {"/var/lib/postgresql/data": {}},
            # "Smart" shutdown (SIGTERM) would wait for every client to leave.
            "StopSignal": "SIGINT",
        }
        (job.out / "image.json").write_text(json.dumps(config), encoding="utf-8")
        debian.remove(root)


def _entrypoint() -> Path:
    return paths.clusters() / "offline/postgres/entrypoint"


recipe = Postgres()
