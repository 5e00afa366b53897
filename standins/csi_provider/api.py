"""The provider's gRPC service, v1alpha1.CSIDriverProvider, as typed messages.

The driver (v1.6.1) calls `Version` in its optional health check and `Mount` for every
volume and at every rotation. The same fields are in provider.proto, for people and for
the test that compares the two. Attributes and secrets carry tokens, so neither they nor
file contents ever show in a repr.
"""

from __future__ import annotations

from dataclasses import dataclass

from standins.common.wire import Message, Schema, tag

SERVICE = "v1alpha1.CSIDriverProvider"


@dataclass(frozen=True)
class VersionRequest(Message):
    """`version` is the driver's: "v1alpha1"."""

    version: str = tag(1, "")


@dataclass(frozen=True)
class VersionResponse(Message):
    """`runtime_version` is a semantic version."""

    version: str = tag(1, "")
    runtime_name: str = tag(2, "")
    runtime_version: str = tag(3, "")


@dataclass(frozen=True)
class ObjectVersion(Message):
    """Which content an object has: `id` is its objectName, `version` is opaque."""

    id: str = tag(1, "")
    version: str = tag(2, "")


@dataclass(frozen=True)
class MountRequest(Message):
    """`attributes` and `secrets` are JSON objects, `permission` is a JSON number."""

    attributes: str = tag(1, "", secret=True)
    secrets: str = tag(2, "", secret=True)
    target_path: str = tag(3, "")
    permission: str = tag(4, "")
    current_object_version: tuple[ObjectVersion, ...] = tag(5, ())


@dataclass(frozen=True)
class Error(Message):
    """A code for the driver's metrics. This provider answers with a gRPC status instead."""

    code: str = tag(1, "")


@dataclass(frozen=True)
class File(Message):
    """One file for the driver to write: relative `path`, `mode` 0 to 511."""

    path: str = tag(1, "")
    mode: int = tag(2, 0)
    contents: bytes = tag(3, b"", secret=True)


@dataclass(frozen=True)
class MountResponse(Message):
    """The whole content of the volume. The driver refuses an answer without versions."""

    object_version: tuple[ObjectVersion, ...] = tag(1, ())
    error: Error | None = tag(2, None)  # noqa: RUF009 - `tag` is a dataclasses.field specifier
    files: tuple[File, ...] = tag(3, ())


SCHEMA = Schema(
    "v1alpha1",
    VersionRequest,
    VersionResponse,
    ObjectVersion,
    MountRequest,
    Error,
    File,
    MountResponse,
)
