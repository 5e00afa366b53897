"""The objects of a SecretProviderClass: what to read and under which file name.

`parse_objects` turns the YAML string of the `objects` parameter into `SecretObject`s
and refuses what must never reach a file system: a name that leaves the mount, that two
objects share or that is a folder for one and a file for the other. It reads nothing
from Vault.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from standins.common import gojson
from standins.csi_provider.errors import ConfigError
from standins.csi_provider.yamldecode import Decoder, NotDecodable
from standins.csi_provider.yamltext import Node, compose

# The driver's own limits; refusing here names the object instead of failing the write.
LONGEST_PATH = 4096
LONGEST_NAME = 255
LARGEST_MODE = 0o777
# Parsing this much takes about a second, in which the provider does nothing else.
LONGEST_TEXT = 128 * 1024

_FIELDS = (
    "objectName",
    "secretPath",
    "secretKey",
    "method",
    "secretArgs",
    "filePermission",
    "encoding",
)


@dataclass(frozen=True)
class SecretObject:
    """One entry of `objects`, as written; empty text means "not given", mode 0 likewise."""

    name: str = ""
    path: str = ""
    key: str = ""
    method: str = ""
    # May hold passwords, so it stays out of the repr.
    args: Mapping[str, Any] | None = field(default=None, repr=False)
    mode: int = 0
    encoding: str = ""


def parse_objects(text: str) -> tuple[SecretObject, ...]:
    """The entries of the `objects` parameter. Raises ConfigError."""
    if len(text) > LONGEST_TEXT:
        raise ConfigError(f"objects: longer than {LONGEST_TEXT} characters")
    try:
        return _Entries(text).read()
    except yaml.YAMLError as error:
        # PyYAML quotes the line it stumbled on, and secretArgs may hold a password.
        raise ConfigError(f"objects: not valid YAML: {_where(error)}") from None
    except NotDecodable as error:
        raise ConfigError(f"objects: {error}") from None


def check_objects(objects: Sequence[SecretObject]) -> None:
    """Refuse an empty list and names that cannot be files beside each other."""
    if not objects:
        raise ConfigError("no secrets configured - the provider will not read any secret material")
    names = [entry.name for entry in objects]
    repeated = [name for index, name in enumerate(names) if name in names[:index]]
    if repeated:
        raise ConfigError(
            "each `objectName` within a SecretProviderClass must be unique, "
            f"but the following keys were duplicated: {', '.join(repeated)}"
        )
    folders = {folder: name for name in names for folder in _folders(name)}
    for name in names:
        problem = _unsafe(name)
        if problem:
            raise ConfigError(f"objectName {name!r} cannot be a file in the mount: {problem}")
        if name in folders:
            raise ConfigError(
                f"objectName {name!r} cannot be a file in the mount: "
                f"{folders[name]!r} needs a folder of that name"
            )


def _unsafe(name: str) -> str:
    parts = name.split("/")
    if not name:
        return "it is empty"
    if name.startswith("/"):
        return "it is absolute"
    if ".." in parts:
        return "it contains '..'"
    if parts[0].startswith(".."):
        return "names that start with '..' belong to the driver's atomic writer"
    if posixpath.normpath(name) != name or name == ".":
        return "it is not a clean relative path"
    if not name.isprintable():
        return "it contains a control or surrogate character"
    if len(name.encode()) > LONGEST_PATH or any(len(p.encode()) > LONGEST_NAME for p in parts):
        return f"it is longer than {LONGEST_PATH} bytes, {LONGEST_NAME} for each part"
    return ""


def _folders(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


class _Entries:
    """Reads the entries of one text, and says of which entry and field it speaks."""

    def __init__(self, text: str) -> None:
        self._root = compose(text)
        self._decoder = Decoder()
        self._number = -1

    def read(self) -> tuple[SecretObject, ...]:
        return tuple(self._decoder.items(self._root, self._entry))

    def _entry(self, node: Node) -> SecretObject:
        self._number += 1
        where = f"objects[{self._number}]"
        with _naming(where):
            fields = self._decoder.fields(node, _FIELDS)
        read: dict[str, Any] = {}
        for name, value in fields.items():
            with _naming(f"{where}.{name}"):
                read[name] = self._field(name, value)
        return SecretObject(
            name=read.get("objectName") or "",
            path=read.get("secretPath") or "",
            key=read.get("secretKey") or "",
            method=read.get("method") or "",
            args=read.get("secretArgs"),
            mode=read.get("filePermission") or 0,
            encoding=read.get("encoding") or "",
        )

    def _field(self, name: str, node: Node) -> Any:
        if name == "secretArgs":
            arguments = self._decoder.mapping(node)
            gojson.dumps(arguments)
            return arguments
        if name != "filePermission":
            return _utf8(self._decoder.text(node))
        mode = self._decoder.number(node)
        if mode is not None and mode > LARGEST_MODE:
            raise ValueError(f"{mode} is not a file mode; modes are octal, such as 0644")
        return mode


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Put the place in front of what is wrong inside."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _utf8(text: str | None) -> str | None:
    """The text, unless a `!!binary` made it of bytes that are none."""
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise NotDecodable("is not UTF-8") from None
    return text


def _where(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    mark = error.problem_mark
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{error.problem or error.context}{place}"
