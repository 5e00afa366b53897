"""Images from container registries: pulled by the engine, under upstream's own names.

The registry is first asked which digest a tag stands for. Only when that agrees with the
lock is anything pulled, by that digest, so that a refused image leaves nothing in the
engine. LAB_MIRROR=host[:port][/prefix] names one registry that is asked in place of all
others: the registry's host is replaced, the path stays (docker.io/library/x is asked for
as host/prefix/library/x), and the image is tagged with its pinned name. There is no way
back to the upstream registry while a mirror is named: an air-gapped site wants none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import docker
import requests
import urllib3
from docker.errors import DockerException, ImageNotFound

from harness.base.errors import EnvironmentLacks, UsageError
from harness.base.redact import redact
from harness.supply.engine.engine import platform_of
from harness.supply.lock import Lock, Seen

Say = Callable[[str], None]

_REFERENCE = re.compile(
    r"(?P<registry>[a-z0-9.-]+\.[a-z0-9-]+(:\d+)?|localhost(:\d+)?)"
    r"/(?P<path>[a-z0-9._/-]+):(?P<tag>[\w.-]+)"
)
_MIRROR = re.compile(r"([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?(/[a-z0-9._/-]*[a-z0-9])?")


@dataclass(frozen=True)
class Reference:
    """A full image reference, `registry/path:tag`: no default registry, no default tag.

    `digest` is that of the image, or of its index, where it is pinned; "" where it is not.
    """

    registry: str
    path: str
    tag: str
    digest: str = ""

    @classmethod
    def parse(cls, text: str, digest: str = "") -> Reference:
        """Raises UsageError for anything but the full form with a fixed tag."""
        match = _REFERENCE.fullmatch(text)
        if not match or match["tag"] == "latest":
            raise UsageError(
                f"{text!r} is not a full image reference with a fixed tag",
                where="clusters/versions.toml",
                hint="write registry/path:tag, for instance docker.io/library/debian:12",
            )
        return cls(match["registry"], match["path"], match["tag"], digest)

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"

    @property
    def repository(self) -> str:
        """The reference without its tag."""
        return f"{self.registry}/{self.path}"

    def through(self, mirror: str) -> Reference:
        """Where this image is asked for: itself, or its path at `mirror`."""
        if not mirror:
            return self
        host, _, prefix = mirror.partition("/")
        path = f"{prefix}/{self.path}" if prefix else self.path
        return Reference(host, path, self.tag, self.digest)


@dataclass(frozen=True)
class LocalImage:
    """An image in the engine: its ID, the registry digests known for it, labels."""

    id: str
    digests: tuple[str, ...]
    labels: dict[str, str]


def mirror() -> str:
    """LAB_MIRROR, or "" when it is not set. Raises UsageError for what cannot be one."""
    named = os.environ.get("LAB_MIRROR", "").strip().rstrip("/")
    if named and not _MIRROR.fullmatch(named):
        raise UsageError(
            f"LAB_MIRROR={named} is not a registry",
            where="environment variable LAB_MIRROR",
            hint="name it as host:port or host:port/prefix, without https://",
        )
    return named


def local(client: docker.DockerClient, reference: str) -> LocalImage | None:
    """The image that the engine has under this name, or None.

    Raises EnvironmentLacks when it is there for another architecture than the engine's.
    """
    try:
        attributes = client.images.get(reference).attrs
    except ImageNotFound:
        return None
    made_for, runs = attributes.get("Architecture") or "", platform_of(client)
    if made_for and made_for != runs.partition("/")[2]:
        raise EnvironmentLacks(
            f"the image {reference} in the engine is for {made_for}, the engine is {runs}",
            where="the container engine's images",
            hint=f"docker image rm {reference}, then the same command again",
        )
    digests = (name.partition("@")[2] for name in attributes.get("RepoDigests") or [])
    labels = (attributes.get("Config") or {}).get("Labels") or {}
    return LocalImage(attributes["Id"], tuple(digests), dict(labels))


def pull(
    client: docker.DockerClient, wanted: Reference, lock: Lock, say: Say, *, moves: bool = False
) -> tuple[LocalImage, Seen | None]:
    """Bring `wanted` into the engine under its own name; what its tag was before it moved.

    `say` hears how far it is and may raise to stop the work. `moves`: the publisher moves this
    tag. Raises UsageError when another tag stands for another digest than before,
    EnvironmentLacks when the image cannot be had.
    """
    source = wanted.through(mirror())
    platform = platform_of(client)
    say(f"asking {source.registry}")
    try:
        digest = _digest_now(client, source, platform)
        if not (moves or digest == wanted.digest):
            lock.check(str(wanted), digest, str(source))
        _stream(client, source, digest, platform, say)
        client.images.get(f"{source.repository}@{digest}").tag(wanted.repository, wanted.tag)
    except DockerException as error:
        raise _failure(str(error), source, platform) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise EnvironmentLacks(
            f"the container engine broke off while it pulled {source}",
            where=type(error).__name__,
            hint="docker info, then the same command again",
        ) from error
    before = lock.record(str(wanted), digest, str(source), moves=moves or digest == wanted.digest)
    image = local(client, str(wanted))
    if image is None:
        raise EnvironmentLacks(
            f"{wanted} was pulled but is not in the engine", where=str(source), hint="docker images"
        )
    return image, before if moves else None


def _digest_now(client: docker.DockerClient, source: Reference, platform: str) -> str:
    """The pinned digest, or the one that the tag stands for where none is pinned.

    Raises EnvironmentLacks when there is no image for `platform`. A mirror may have been
    filled with one platform of an image, which has another digest than all of them together:
    then the tag counts, and the caller tells it.
    """
    named = f"{source.repository}@{source.digest}" if source.digest else str(source)
    try:
        data = client.images.get_registry_data(named)
    except DockerException as error:
        if not (source.digest and mirror() and re.search(_ABSENT, str(error))):
            raise
        data = client.images.get_registry_data(str(source))
    offered = {
        f"{entry.get('os')}/{entry.get('architecture')}" for entry in data.attrs["Platforms"] or []
    }
    if offered and platform not in offered:
        raise EnvironmentLacks(
            f"{source} has no image for {platform}, only for {', '.join(sorted(offered))}",
            where=source.registry,
            hint="mirror that platform as well, or build the parts here: --supply offline",
        )
    return str(data.id)


def _stream(
    client: docker.DockerClient, source: Reference, digest: str, platform: str, say: Say
) -> None:
    """Pull by digest, telling how far the layers are."""
    layers = _Layers()
    events = client.api.pull(
        source.repository, tag=digest, platform=platform, stream=True, decode=True
    )
    try:
        for event in events:
            if "error" in event:
                raise _failure(str(event["error"]), source, platform)
            say(layers.after(event))
    finally:
        # Closing the stream is what makes the engine give up a pull that is no longer wanted.
        events.close()


class _Layers:
    """Sums the engine's events, one per layer and moment, into one line."""

    def __init__(self) -> None:
        self._bytes: dict[str, tuple[int, int]] = {}
        self._known: set[str] = set()
        self._finished: set[str] = set()

    def after(self, event: dict[str, Any]) -> str:
        """Take in one event and return what to show."""
        layer, status = event.get("id", ""), event.get("status", "")
        if status.startswith(("Pulling fs layer", "Already exists")):
            self._known.add(layer)
        if status in ("Pull complete", "Already exists"):
            self._finished.add(layer)
        if status == "Downloading":
            detail = event.get("progressDetail") or {}
            self._bytes[layer] = (detail.get("current", 0), detail.get("total", 0))
        elif status == "Download complete" and layer in self._bytes:
            total = self._bytes[layer][1]
            self._bytes[layer] = (total, total)
        now = sum(current for current, _ in self._bytes.values()) / 1e6
        total_mb = sum(total for _, total in self._bytes.values()) / 1e6
        count = f"{len(self._finished & self._known)} of {len(self._known)} layers"
        # The engine tries a broken layer again up to five times, for over a minute.
        broken = ", a layer broke off: the engine tries again" if "Retrying" in status else ""
        return f"pulling, {now:.0f} of {total_mb:.0f} MB, {count}{broken}"


_ABSENT = r"manifest unknown|not found|NAME_UNKNOWN|name unknown"
# What the engine or the registry says, what it means, what helps.
_FAILURES = (
    (
        r"[Cc]redentials store|docker-credential",
        "the credential helper that ~/.docker/config.json names does not work here",
        'take "credsStore" out of ~/.docker/config.json, or repair the helper',
    ),
    (
        r"no space left on device",
        "the engine's disk is full",
        "docker system df, then docker image prune",
    ),
    (
        r"toomanyrequests|rate limit|\b429\b",
        "{registry} allows no more pulls from this address now",
        "docker login, wait an hour, or name a mirror with LAB_MIRROR=host:port",
    ),
    (
        r"no matching manifest|does not match the specified platform|no match for platform",
        "{source} has no image for {platform}",
        "mirror that platform as well, or build the parts here: --supply offline",
    ),
    (
        r"HTTP response to HTTPS client",
        "{registry} speaks plain http, which the engine accepts from the loopback only",
        'name it in "insecure-registries" of the engine\'s daemon.json, or give it TLS',
    ),
    (
        r"verification failed|unexpected commit digest",
        "{registry} serves a layer of {source} that is not what its digest says",
        "nothing of it was kept; repair the mirror, or ask the registry itself without LAB_MIRROR",
    ),
    (
        _ABSENT,
        "{registry} has no image {source}",
        "check the name, or push the image to the mirror under exactly that name",
    ),
    (
        r"unauthorized|denied|authentication required|no basic auth|forbidden",
        "{registry} refuses {source}: a login is needed or the image is not there",
        "docker login {registry}, or correct LAB_MIRROR",
    ),
    (
        r"x509|certificate",
        "the engine does not trust the certificate of {registry}",
        "put its CA into /etc/docker/certs.d/{registry}/ca.crt (LAB_CA is not for the engine)",
    ),
    (
        r"no such host|name resolution|server misbehaving",
        "the engine cannot resolve the name {registry}",
        "check the network and the engine's DNS, or name a mirror with LAB_MIRROR=host:port",
    ),
    (
        r"connection refused|connection reset|i/o timeout|[Tt]imed out|deadline exceeded|EOF"
        r"|unreachable|Client\.Timeout|Connection aborted|5\d\d ",
        "{registry} does not answer the engine (any more)",
        "the same command again keeps the layers that are there; or --supply offline",
    ),
)


def _failure(text: str, source: Reference, platform: str) -> EnvironmentLacks:
    """The error for what the engine said about pulling `source`."""
    facts = {"registry": source.registry, "source": str(source), "platform": platform}
    for pattern, what, hint in _FAILURES:
        if re.search(pattern, text):
            return EnvironmentLacks(
                what.format(**facts), where=str(source), hint=hint.format(**facts)
            )
    return EnvironmentLacks(
        f"{source} cannot be pulled: {redact(text)[:300]}",
        where=source.registry,
        hint=f"docker pull {source} shows it at length; or --supply offline",
    )
