"""The online supply against a real engine and a real registry on the loopback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from harness.base.errors import EnvironmentLacks, UsageError
from harness.supply import choose
from harness.supply.base import Part
from harness.supply.lock import Lock
from harness.supply.offline.supply import OfflineSupply
from harness.supply.online import supply as online
from harness.supply.online.supply import OnlineSupply
from tests.live.registry import Registry, relay

Filled = Callable[[dict[str, str]], Registry]
Made = Callable[..., str]


class Heard:
    """A progress listener that keeps what it hears and can interrupt."""

    def __init__(self, interrupt_at: str = "") -> None:
        self.lines: list[str] = []
        self.interrupt_at = interrupt_at

    def start(self, name: str, doing: str) -> None:
        self.lines.append(doing)

    def update(self, name: str, doing: str) -> None:
        self.lines.append(doing)
        if self.interrupt_at and self.interrupt_at in doing:
            raise KeyboardInterrupt

    def done(self, name: str, note: str) -> None:
        self.lines.append(f"done: {note}")

    def fail(self, name: str, note: str) -> None:
        self.lines.append(f"failed: {note}")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("LAB_DOWNLOADS", raising=False)


@pytest.fixture
def upstream(namespace: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The reference of a part called `tiny`, which versions.toml has for the test only."""
    reference = f"{namespace}/tiny:1"
    part = Part("tiny", "1", "image", "none", "a test", online={"image": reference})
    for module in (online, choose):
        monkeypatch.setattr(module, "find_part", {"tiny": part}.__getitem__)
    return reference


def names(client: docker.DockerClient, upstream: str) -> set[str]:
    """All names in the engine that belong to this test (others may use the engine too)."""
    organisation = upstream.split("/")[1]
    found: set[str] = set()
    for image in client.api.images(all=True):
        found.update(image["RepoTags"] or [], image["RepoDigests"] or [])
    return {name for name in found if organisation in name}


def forget(client: docker.DockerClient, upstream: str) -> None:
    """Remove what was pulled as `upstream`, under all the names that it has."""
    image = client.images.get(upstream)
    client.images.remove(str(image.id), force=True)


def test_an_image_comes_from_the_mirror_under_its_own_name(
    docker_client: docker.DockerClient,
    filled_registry: Filled,
    tiny_image: Made,
    upstream: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = tiny_image("a")
    registry = filled_registry({upstream: made})
    monkeypatch.setenv("LAB_MIRROR", registry.address)
    monkeypatch.setattr(OfflineSupply, "cached", lambda *_: False)
    supply = choose.choose("auto", ["tiny"], Heard())
    assert isinstance(supply, OnlineSupply)
    assert supply.why.startswith(f"the mirror {registry.address} answered in ")
    assert not supply.ready(["tiny"])
    docker_client.images.remove(made)

    heard = Heard()
    provided = supply.provide(["tiny"], heard)["tiny"]

    assert provided.image == upstream
    assert docker_client.images.get(upstream).id == provided.digest
    assert provided.origin.endswith(
        f", from {registry.address}/{upstream.removeprefix('docker.io/')}"
    )
    assert "done: fetched" in heard.lines
    seen = Lock().seen(upstream)
    assert seen is not None
    assert any(seen.digest in name for name in names(docker_client, upstream))
    assert supply.ready(["tiny"])
    again = Heard()
    assert supply.provide(["tiny"], again)["tiny"] == provided
    assert "done: already here" in again.lines


def test_a_tag_that_was_moved_is_refused_and_nothing_is_pulled(
    docker_client: docker.DockerClient,
    filled_registry: Filled,
    tiny_image: Made,
    upstream: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = filled_registry({upstream: tiny_image("a")})
    monkeypatch.setenv("LAB_MIRROR", registry.address)
    OnlineSupply().provide(["tiny"], Heard())
    forget(docker_client, upstream)
    digest = registry.put(upstream, tiny_image("b"))
    before = names(docker_client, upstream)

    with pytest.raises(UsageError, match="has changed") as caught:
        OnlineSupply().provide(["tiny"], Heard())

    assert digest in caught.value.what
    assert names(docker_client, upstream) == before
    Lock().file.unlink()
    assert OnlineSupply().provide(["tiny"], Heard())["tiny"].image == upstream


def test_a_connection_that_breaks_and_an_interrupt_leave_nothing_and_can_go_on(
    docker_client: docker.DockerClient,
    filled_registry: Filled,
    tiny_image: Made,
    upstream: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = tiny_image("big", size=5_000_000)
    registry = filled_registry({upstream: made})
    docker_client.images.remove(made)
    before = names(docker_client, upstream)
    with relay(registry.address, cut_after=500_000) as (address, healed):
        monkeypatch.setenv("LAB_MIRROR", address)
        heard = Heard(interrupt_at="the engine tries again")
        with pytest.raises(KeyboardInterrupt):
            OnlineSupply().provide(["tiny"], heard)
        assert names(docker_client, upstream) == before
        assert Lock().seen(upstream) is None
        healed.set()
        assert OnlineSupply().provide(["tiny"], Heard())["tiny"].image == upstream


def test_a_layer_that_was_tampered_with_is_refused(
    docker_client: docker.DockerClient,
    filled_registry: Filled,
    tiny_image: Made,
    upstream: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = tiny_image("a", size=200_000)
    registry = filled_registry({upstream: made})
    docker_client.images.remove(made)
    largest = max(registry.storage.rglob("data"), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    monkeypatch.setenv("LAB_MIRROR", registry.address)
    with pytest.raises(EnvironmentLacks, match="not what its digest says"):
        OnlineSupply().provide(["tiny"], Heard())
    with pytest.raises(ImageNotFound):
        docker_client.images.get(upstream)


def test_a_mirror_without_the_image_says_so(
    filled_registry: Filled, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = filled_registry({})
    monkeypatch.setenv("LAB_MIRROR", registry.address)
    with pytest.raises(EnvironmentLacks, match=f"{registry.address} has no image"):
        OnlineSupply().provide(["tiny"], Heard())


def test_a_mirror_that_is_not_there_says_so(upstream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_MIRROR", "127.0.0.1:1")
    with pytest.raises(EnvironmentLacks, match=r"127\.0\.0\.1:1 does not answer the engine"):
        OnlineSupply().provide(["tiny"], Heard())


def test_a_local_image_is_used_as_it_is(
    docker_client: docker.DockerClient,
    tiny_image: Made,
    upstream: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository, _, tag = upstream.rpartition(":")
    docker_client.images.get(tiny_image("a")).tag(repository, tag)
    monkeypatch.setenv("LAB_MIRROR", "127.0.0.1:1")
    provided = OnlineSupply().provide(["tiny"], Heard())["tiny"]
    assert provided.origin == f"{upstream}, local, digest not checked"
