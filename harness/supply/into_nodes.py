"""Images on their way from the engine into a node, where pods find them without a pull.

`kind load` asks the node for all platforms of an image. An engine with containerd's image
store keeps the index of all of them and the content of one, and the import fails with
"content digest not found". Here one platform is saved and imported, as a stream: nothing
lies on disk in between. A node never pulls by itself, although it could where there is a
network: it would need the engine's mirrors, certificates and logins once more, fetch the
same layers a second time, and run what the lock has not seen.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from harness.base import process, tasks
from harness.base.errors import LabError
from harness.base.statefile import read_json, write_json
from harness.supply import images
from harness.supply.engine import engine

LOAD_SECONDS = 600.0
# Importing is a matter of one disk: more at a time would not be faster.
AT_ONCE = 3
_CTR = ("ctr", "--namespace", "k8s.io", "images")


class NodeImages:
    """The images of the node container `node`; `record` is the file with what was loaded.

    It keeps two digests of an image, since none is the same on both sides: the engine's ID,
    and what the node's containerd calls the image of that name.
    """

    def __init__(self, node: str, record: Path) -> None:
        self.node = node
        self._record = record

    def lacks(self, wanted: Iterable[str]) -> list[str]:
        """Those of `wanted` that the node does not have as the engine has them."""
        record, there = read_json(self._record), self._there()
        return [
            image
            for image in wanted
            if record.get(image) != [engine.image_id(image), there.get(full_name(image))]
        ]

    def adopt(self, wanted: Iterable[str]) -> None:
        """Take those of `wanted` that a new node brought with it for the engine's own.

        The offline supply's node image has some baked in, of the same build as the engine's.
        """
        there = self._there()
        self._note({image: engine.image_id(image) for image in wanted if full_name(image) in there})

    def load(self, wanted: Iterable[str]) -> None:
        """Copy images of the engine into the node. Raises LabError when it refuses one."""
        identities = {image: engine.image_id(image) for image in wanted}
        with closing(engine.client()) as client:
            platform = engine.platform_of(client)
        options = ("--platform", platform, "--snapshotter", self._snapshotter())
        work = {image: partial(self._load, image, options) for image in identities}
        tasks.side_by_side(work, AT_ONCE)
        self._note(identities)

    def _note(self, identities: Mapping[str, str]) -> None:
        """Write down that the node has these images of the engine."""
        there = self._there()
        loaded = {image: [identities[image], there.get(full_name(image))] for image in identities}
        write_json(self._record, {**read_json(self._record), **loaded})

    def _load(self, image: str, options: Sequence[str]) -> None:
        with closing(images.saved(image)) as content:
            process.run(
                ["docker", "exec", "--interactive", self.node, *_CTR, "import", *options, "-"],
                stdin=content,
                timeout=LOAD_SECONDS,
                hint=f"docker exec {self.node} df -h /var; ./lab doctor",
            )

    def _there(self) -> Mapping[str, str]:
        """The digest of each name in the node's containerd."""
        return dict(_names_and_digests(self._ask(*_CTR, "ls")))

    def _snapshotter(self) -> str:
        """Where the node's containerd unpacks images: another place is no use to the kubelet.

        Node images choose it for the file system that they run on, as kind's `load` knows.
        """
        settings = tomllib.loads(self._ask("containerd", "config", "dump"))
        plugins = settings.get("plugins", {})
        new = plugins.get("io.containerd.cri.v1.images", {})
        old = plugins.get("io.containerd.grpc.v1.cri", {}).get("containerd", {})
        return str(new.get("snapshotter") or old.get("snapshotter") or "overlayfs")

    def _ask(self, *command: str) -> str:
        ended = process.in_container(self.node, command)
        if ended.returncode:
            said = ended.stderr.decode(errors="replace").strip()
            raise LabError(
                f"the node {self.node} does not tell its images: {said[-300:]}", hint="./lab up"
            )
        return ended.stdout.decode(errors="replace")


def full_name(image: str) -> str:
    """An image's name as containerd has it: with the registry, Docker Hub unless it is named."""
    first = image.partition("/")[0]
    return image if "." in first or ":" in first or first == "localhost" else f"docker.io/{image}"


def _names_and_digests(listing: str) -> Iterator[tuple[str, str]]:
    """The first and third column of `ctr images ls`: REF TYPE DIGEST SIZE …"""
    for line in listing.splitlines()[1:]:
        columns = line.split()
        if len(columns) >= 3:
            yield columns[0], columns[2]
