"""The stand-ins' image of the online supply: built on a Debian from a registry, and run.

Nobody publishes it, so a laptop with Docker has to build it. It gets a name of its own
here: an environment that runs meanwhile keeps its image.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from harness.supply.base import Part, Provided, find_part
from harness.supply.online import built_image
from harness.supply.online import supply as online
from harness.supply.online.supply import OnlineSupply
from tests.live.debian import base_archive, make_debian
from tests.live.registry import Registry
from tests.live.test_online_registry import Heard

# Imports each program and prints which modules have no bytecode that is used unchecked
# (PEP 552: flags 1 in the second word), then whether the Kubernetes client is bytecode only.
_LOOK = """
import importlib, sys
for name in ("kms_plugin", "csi_provider", "injector", "operator", "registrar"):
    importlib.import_module(f"standins.{name}.__main__")
ours = [m for m in sys.modules.values() if (getattr(m, "__file__", None) or "").endswith(".py")
    and m.__name__.partition(".")[0] in ("standins", "kopf", "grpc", "aiohttp")]
print([m.__name__ for m in ours if open(m.__cached__, "rb").read(8)[4:] != b"\\1\\0\\0\\0"])
print(len(ours) > 50)
"""

# Renders a template with the program that is built beside the image and copied in.
_RENDER = """
import asyncio
from standins.operator.gotemplate import Template, TemplateEngine
async def main():
    engine = TemplateEngine()
    template = Template("key", "name", '{{ snakecase .Secrets.word }}')
    print(await engine.render([template], {"Secrets": {"word": "v1Beta2"}}))
    await engine.close()
asyncio.run(main())
"""


@pytest.fixture
def part(
    docker_client: docker.DockerClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Part]:
    """The part `standins` under another version, so that its image has another name."""
    base = f"{namespace}/debian:test"
    real = find_part("standins")
    changed = dataclasses.replace(
        real,
        version=f"live-{uuid.uuid4().hex[:8]}",
        online={**real.online, "image": base},
    )
    monkeypatch.setattr(online, "find_part", {"standins": changed}.__getitem__)
    yield changed
    docker_client.images.remove(built_image.name_of(changed))


@pytest.fixture
def provided(
    docker_client: docker.DockerClient,
    part: Part,
    filled_registry: Callable[[dict[str, str]], Registry],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Provided:
    """The image, built with an empty cache from a registry that has only the base."""
    if not base_archive().exists():
        pytest.skip("the offline base is not in the cache: this machine is online already")
    base = part.online["image"]
    make_debian(docker_client, tmp_path / "debian", base)
    registry = filled_registry({base: base})
    docker_client.images.remove(base)
    monkeypatch.setenv("LAB_MIRROR", registry.address)
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return OnlineSupply().provide(["standins"], Heard())["standins"]


def test_the_stand_ins_are_built_and_run(
    docker_client: docker.DockerClient, part: Part, provided: Provided, tmp_path: Path
) -> None:
    assert provided.image == built_image.name_of(part)
    assert provided.origin == f"built here from {part.online['image']}"
    assert provided.upstream is False
    assert OnlineSupply().ready(["standins"])

    def run(*command: str) -> str:
        # Read-only and without rights, as in a pod.
        shown = docker_client.containers.run(
            provided.image,
            [*command],
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            network_mode="none",
            remove=True,
        )
        return shown.decode()

    assert run("id", "-u").strip() == "1000"
    assert "-transit-mount value" in run("python3", "-m", "standins.kms_plugin", "--help")
    assert json.loads(run("python3", "-m", "standins.csi_provider", "-version"))["standIn"] is True
    assert run("python3", "-c", _LOOK).split("\n")[:2] == ["[]", "True"]
    assert run("python3", "-c", _RENDER).strip() == "{'key': b'v1_beta2'}"
    # The stage that compiled is gone; what the image does not need is not in it.
    label = f"{built_image.STAGE_LABEL}=standins"
    assert docker_client.images.list(filters={"label": label, "dangling": True}) == []
    size = docker_client.images.get(provided.image).attrs["Size"] // 10**6
    assert size < 300, f"{size} MB"
    assert list((tmp_path / "cache" / "kube-vault-labs" / "downloads").iterdir()) == []
