"""The images that the online supply builds itself, on the publisher's Debian.

Nobody publishes an image with what the labs' pods need (`app`), nor the stand-ins of this
project (`standins`). clusters/online/NAME has a Dockerfile for each, which installs Debian's
packages; the Python libraries are fetched on this machine (harness.supply.libraries), and the
program in Go is built on it (harness.supply.golang), where its settings for mirrors hold and no
image with a compiler is needed. Both are copied in. A label holds a key made of all that goes
in: as long as it fits, nothing is built.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException
from docker.utils.config import load_general_config

from harness.base import proxies
from harness.base.errors import EnvironmentLacks
from harness.base.labels import MANAGED_BY
from harness.base.paths import PROJECT, cache_root, clusters
from harness.base.redact import redact
from harness.supply import golang, images, libraries, standin_files
from harness.supply.base import Part
from harness.supply.engine.engine import platform_of
from harness.supply.images import KEY_LABEL
from harness.supply.online.registries import LocalImage, local

Say = Callable[[str], None]

# On what a Dockerfile makes on the way to the image and does not keep.
STAGE_LABEL = f"{PROJECT}.stage"
STAND_INS = "standins"
_TAIL_LINES = 15


def name_of(part: Part) -> str:
    """The name under which the image is kept in the engine."""
    return images.name_of(part.name, part.version)


def present(client: docker.DockerClient, part: Part) -> LocalImage | None:
    """The image when the engine has it and it is not outdated, or None.

    An image without the key label was not built here, and is used as it is.
    """
    image = local(client, name_of(part))
    if image and image.labels.get(KEY_LABEL, _key(part)) != _key(part):
        return None
    return image


def build(client: docker.DockerClient, part: Part, base: str, say: Say) -> LocalImage:
    """Build the image on `base`, which the engine has. Raises EnvironmentLacks if it fails."""
    name = name_of(part)
    outdated = local(client, name)
    context = Path(tempfile.mkdtemp(prefix=f"{part.name}-", dir=_folder()))
    try:
        say("fetching its Python libraries")
        shutil.copy(_dockerfile(part), context)
        machine = platform_of(client).partition("/")[2]
        libraries.fetch(context / "site", machine, _libraries(part))
        if _of_stand_ins(part):
            standin_files.copy(context)
            golang.program(
                standin_files.GO_PROGRAM, context / standin_files.GO_PROGRAM, machine, say
            )
        say(f"building on {base}")
        _build(client, context, part, base, say)
    finally:
        shutil.rmtree(context, ignore_errors=True)
    image = local(client, name)
    assert image is not None  # the engine just said that it tagged it
    if outdated and outdated.id != image.id and KEY_LABEL in outdated.labels:
        _remove(client, part, outdated)
    return image


def _of_stand_ins(part: Part) -> bool:
    return bool(part.online["build"] == STAND_INS)


def _dockerfile(part: Part) -> Path:
    return clusters() / "online" / str(part.online["build"]) / "Dockerfile"


def _libraries(part: Part) -> Path:
    return standin_files.library_list() if _of_stand_ins(part) else libraries.list_file()


def _key(part: Part) -> str:
    """What the image is made of, as 16 hex digits."""
    dockerfile = _dockerfile(part).read_text(encoding="utf-8")
    sources = []
    if _of_stand_ins(part):
        sources = [*standin_files.digests(), *golang.text_of(standin_files.GO_PROGRAM)]
    wanted = libraries.wanted(_libraries(part))
    inputs = json.dumps([part.version, part.online["image"], dockerfile, wanted, *sources])
    return hashlib.sha256(inputs.encode()).hexdigest()[:16]


def _folder() -> Path:
    folder = cache_root() / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _build(client: docker.DockerClient, context: Path, part: Part, base: str, say: Say) -> None:
    tail: list[str] = []
    try:
        events = client.api.build(
            path=str(context),
            tag=name_of(part),
            buildargs={"BASE": base, **_proxies()},
            labels={KEY_LABEL: _key(part), MANAGED_BY: PROJECT},
            rm=True,
            forcerm=True,
            decode=True,
            use_config_proxy=True,
        )
        try:
            for event in events:
                _follow(event, part, tail, say)
        finally:
            # Closing the stream is what makes the engine give up the build.
            events.close()
            client.images.prune(
                filters={"dangling": True, "label": f"{STAGE_LABEL}={part.online['build']}"}
            )
    except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _failed(part, f"{type(error).__name__}: {error}", tail) from error


def _proxies() -> Mapping[str, str]:
    """The proxies that the build needs: the engine's command has its own, else the shell's."""
    return {} if load_general_config().get("proxies") else proxies.for_containers()


def _follow(event: dict[str, Any], part: Part, tail: list[str], say: Say) -> None:
    """Take in one event of the build; raise when it is the failure."""
    if "error" in event:
        raise _failed(part, str(event["error"]), tail)
    line = str(event.get("stream", "")).strip()
    if not line:
        return
    tail[:] = [*tail, line][-_TAIL_LINES:]
    # "--->" and "Removing": image and container numbers, of no use to a reader.
    if not line.startswith(("--->", "Removing")):
        say(line.splitlines()[0][:100])


def _failed(part: Part, cause: str, tail: list[str]) -> EnvironmentLacks:
    lines = "".join(f"\n  | {line}" for line in tail)
    return EnvironmentLacks(
        redact(f"the image {part.name} cannot be built: {cause}{lines}"),
        where=str(_dockerfile(part)),
        hint="the build needs Debian's packages from the network; or --supply offline; or load"
        f" an image named {name_of(part)} into the engine",
    )


def _remove(client: docker.DockerClient, part: Part, outdated: LocalImage) -> None:
    """Remove the image that was replaced; a container that still uses it keeps it."""
    try:
        client.images.remove(outdated.id)
    except APIError as error:
        if error.status_code != requests.codes.conflict:
            raise _failed(part, f"the outdated image stays: {error}", []) from error
