"""Fixtures of the tests that need a container engine (marker `live`)."""

from __future__ import annotations

import io
import os
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from harness.supply.engine import engine
from tests.live import registry as registries


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("live")


@pytest.fixture
def docker_client() -> Iterator[docker.DockerClient]:
    """A client of the engine of this machine."""
    client = engine.client()
    yield client
    client.close()


@pytest.fixture
def namespace(docker_client: docker.DockerClient) -> Iterator[str]:
    """A made-up organisation on a made-up Docker Hub; its images are removed afterwards."""
    name = f"lab-live-{uuid.uuid4().hex[:8]}"
    yield f"docker.io/{name}"
    for found in docker_client.api.images(all=True):
        for reference in (*(found["RepoTags"] or []), *(found["RepoDigests"] or [])):
            if name in reference:
                with suppress(ImageNotFound):
                    docker_client.images.remove(reference)


@pytest.fixture
def tiny_image(docker_client: docker.DockerClient, namespace: str) -> Callable[..., str]:
    """Makes an image of some random bytes in the engine and returns its name."""

    def make(name: str, size: int = 1000) -> str:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            entry = tarfile.TarInfo("content")
            entry.size = size
            tar.addfile(entry, io.BytesIO(os.urandom(size)))
        reference = f"{namespace}/made-{name}"
        docker_client.api.import_image_from_data(buffer.getvalue(), repository=reference, tag="1")
        return f"{reference}:1"

    return make


@pytest.fixture
def filled_registry(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], registries.Registry]]:
    """`filled_registry({upstream's reference: image in the engine})` starts a registry."""
    with ExitStack() as stack:

        def start(images: dict[str, str]) -> registries.Registry:
            folder = tmp_path / f"registry{uuid.uuid4().hex[:6]}"
            return stack.enter_context(registries.filled_registry(images, folder))

        yield start
