"""Images on their way into a node: what is lacking, and the stream from engine to containerd."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.base import process
from harness.base.errors import EnvironmentLacks, LabError
from harness.base.process import CommandFailed
from harness.base.statefile import read_json, write_json
from harness.supply import images
from harness.supply.engine import engine
from harness.supply.into_nodes import NodeImages, full_name
from tests.fakes import engine as fake_engine

APP, PAUSE = "kube-vault-labs/app:1", "registry.k8s.io/pause:3"
IN_THE_ENGINE = {APP: "sha256:a", PAUSE: "sha256:p"}
# What `ctr images ls` prints on a node, cut to one platform each.
LISTING = """\
REF                             TYPE                                 DIGEST      SIZE    PLATFORMS   LABELS
docker.io/kube-vault-labs/app:1 application/vnd.oci.image.index.v1+json sha256:n-a 6.1 MiB linux/amd64 io.cri-containerd.image=managed
registry.k8s.io/pause:3         application/vnd.oci.image.index.v1+json sha256:n-p 0.3 MiB linux/amd64 -
sha256:0123                     application/vnd.oci.image.index.v1+json sha256:n-p 0.3 MiB linux/amd64 -
"""  # noqa: E501 - as it is printed
NEW_CONFIG = """
version = 3
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'native'
"""
OLD_CONFIG = """
version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
"""


class Node:
    """A node whose containerd takes what it is given."""

    def __init__(self) -> None:
        self.listing = LISTING
        self.config = NEW_CONFIG
        self.imports: list[tuple[list[str], bytes]] = []

    def ask(self, name: str, command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        assert name == "kvl-unit-control-plane"
        text = self.config if command[0] == "containerd" else self.listing
        return subprocess.CompletedProcess(command, 0, text.encode(), b"")

    def run(self, words: Sequence[str], *, stdin: Iterator[bytes], **_: object) -> str:
        self.imports.append(([*words], b"".join(stdin)))
        return ""


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Node]:
    made = Node()
    monkeypatch.setattr(process, "in_container", made.ask)
    monkeypatch.setattr(process, "run", made.run)
    monkeypatch.setattr(engine, "image_id", lambda name: IN_THE_ENGINE.get(name, ""))
    monkeypatch.setattr(images, "saved", lambda name: (part for part in (b"saved ", name.encode())))
    with fake_engine.listening(
        tmp_path / "engine.sock", {"/version": {**fake_engine.DOCKER, "Arch": "arm64"}}
    ) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        yield made


@pytest.fixture
def node_images(node: Node, tmp_path: Path) -> NodeImages:
    return NodeImages("kvl-unit-control-plane", tmp_path / "loaded.json")


def test_what_was_never_loaded_is_lacking(node_images: NodeImages) -> None:
    assert node_images.lacks([APP, "kube-vault-labs/other:1"]) == [APP, "kube-vault-labs/other:1"]


def test_what_was_loaded_is_not_lacking(node_images: NodeImages, node: Node) -> None:
    node_images.load([APP, PAUSE])
    assert node_images.lacks([APP, PAUSE]) == []
    node.listing = LISTING.replace("sha256:n-a", "sha256:other")
    assert node_images.lacks([APP, PAUSE]) == [APP], "another image of that name is on the node"
    node.listing = LISTING.splitlines(keepends=True)[0]
    assert node_images.lacks([APP, PAUSE]) == [APP, PAUSE], "they were removed from the node"


def test_what_a_new_node_brought_with_it_is_not_loaded(
    node_images: NodeImages, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "kube-vault-labs/other:1"
    node_images.adopt([APP, other])
    assert node_images.lacks([APP, other]) == [other]
    assert node.imports == []
    monkeypatch.setitem(IN_THE_ENGINE, APP, "sha256:newer")
    assert node_images.lacks([APP]) == [APP], "it was built again since"


def test_an_image_that_was_built_again_is_lacking(
    node_images: NodeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    node_images.load([APP, PAUSE])
    monkeypatch.setitem(IN_THE_ENGINE, APP, "sha256:newer")
    assert node_images.lacks(IN_THE_ENGINE) == [APP]


def test_a_record_of_an_older_version_is_no_record(node_images: NodeImages, tmp_path: Path) -> None:
    write_json(tmp_path / "loaded.json", {APP: "sha256:a"})
    assert node_images.lacks([APP]) == [APP]


@pytest.mark.parametrize("config", [NEW_CONFIG, OLD_CONFIG])
def test_one_platform_goes_to_where_the_kubelet_looks(
    node_images: NodeImages, node: Node, config: str
) -> None:
    node.config = config
    node_images.load([APP])
    ((words, content),) = node.imports
    assert content == b"saved kube-vault-labs/app:1"
    assert words[:4] == ["docker", "exec", "--interactive", "kvl-unit-control-plane"]
    assert words[words.index("--platform") + 1] == "linux/arm64"
    assert words[words.index("--snapshotter") + 1] == "native"
    assert words[-1] == "-"


def test_a_refused_image_is_not_on_record(
    node_images: NodeImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise CommandFailed("ctr", status=1, output="no space left on device")

    monkeypatch.setattr(process, "run", refuse)
    with pytest.raises(CommandFailed, match="ctr"):
        node_images.load([APP])
    assert read_json(tmp_path / "loaded.json") == {}


def test_a_node_that_does_not_answer_is_said(
    node_images: NodeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.CompletedProcess([], 1, b"", b"container is not running")
    monkeypatch.setattr(process, "in_container", lambda *_: ended)
    with pytest.raises(LabError, match="is not running"):
        node_images.lacks([APP])


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        (APP, "docker.io/kube-vault-labs/app:1"),
        (PAUSE, PAUSE),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
    ],
)
def test_an_image_of_no_registry_is_docker_hubs(name: str, whole: str) -> None:
    assert full_name(name) == whole


def test_an_engine_without_the_image_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_engine.listening(tmp_path / "e.sock", {"/version": fake_engine.DOCKER}) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(EnvironmentLacks, match="does not have app:1"):
            list(images.saved("app:1"))
