"""The image that runs HashiCorp Vault as a server and as an agent in pods."""

from __future__ import annotations

from collections.abc import Iterable

from harness.supply.offline import server_image
from harness.supply.offline.recipe import Job, Recipe

SERVER = server_image.Server(program="vault", user="vault", home="/vault")


class VaultImage(Recipe):
    """Leaves `rootfs.tar` and `image.json`."""

    name = "vault_image"
    needs = ("vault",)
    packages = server_image.PACKAGES

    def inputs(self) -> Iterable[str]:
        return ["1", server_image.entry_point().read_text(encoding="utf-8")]

    def build(self, job: Job) -> None:
        server_image.write(job, SERVER, job.needs["vault"] / "bin/vault")


recipe = VaultImage()
