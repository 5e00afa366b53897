"""The Secrets Store CSI driver from its own Go module, as an image.

Upstream's source, unchanged; clusters/offline/go/csi_driver says which logging library is
replaced and why. The driver mounts by running `mount` and `umount`, which a busybox gives
it. It runs as root: to mount for other containers is what it is for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from harness.base.errors import EnvironmentLacks
from harness.supply import golang, oci
from harness.supply.base import find_part
from harness.supply.offline import gobuild, server_image
from harness.supply.offline.recipe import Job, Recipe

PROGRAM = "secrets-store-csi-driver"
MODULE = f"sigs.k8s.io/{PROGRAM}"


class CsiDriver(Recipe):
    """Leaves `rootfs.tar` and `image.json`, and bin/secrets-store-csi-driver."""

    name = "csi_driver"
    packages = server_image.PACKAGES
    heavy = True

    def inputs(self) -> Iterable[str]:
        yield "1"
        yield oci.architecture()
        yield from golang.FLAGS
        yield from golang.text_of("csi_driver")

    def build(self, job: Job) -> None:
        busybox = server_image.BUSYBOX
        if not busybox.is_file():
            raise EnvironmentLacks(
                "busybox is not there", where=str(busybox), hint="apt-get install busybox-static"
            )
        version = f"v{find_part('csi-driver').version}"
        gobuild.build(
            job,
            gobuild.prepare(job, "csi_driver"),
            [f"{MODULE}/cmd/{PROGRAM}"],
            variables={f"{MODULE}/pkg/version.BuildVersion": version},
        )
        job.say("packing")
        tools = dict.fromkeys(("bin/mount", "bin/umount"), "busybox")
        oci.write_layer(
            job.out / "rootfs.tar",
            {"bin/busybox": busybox, f"bin/{PROGRAM}": job.out / "bin" / PROGRAM, **tools},
            folders=["tmp"],
        )
        config = {"Env": ["PATH=/bin"], "Entrypoint": [PROGRAM], "User": "0:0"}
        (job.out / "image.json").write_text(json.dumps(config), encoding="utf-8")


recipe = CsiDriver()
