"""The objects of a SecretProviderClass: what to read and under which file name.

`parse_objects` turns the YAML string of the `objects` parameter into `SecretObject`s
and refuses what must never reach a file system: a name that leaves the mount, that two
objects share or that is a folder for one and a file for the other. It reads nothing
from Vault.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from standins.common import gojson
from standins.csi_provider.errors import ConfigError
from standins.csi_provider.yamltext import INTEGER, Loader, parse_integer

# The driver's own limits; refusing here names the object instead of failing the write.
LONGEST_PATH = 4096
LONGEST_NAME = 255
LARGEST_MODE = 0o777
# Parsing this much takes about a second, in which the provider does nothing else.
LONGEST_TEXT = 128 * 1024

_TEXT_FIELDS = ("objectName", "secretPath", "secretKey", "method", "encoding")


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
        loader = Loader(text)
        return _entries(loader, loader.get_single_node())
    except yaml.YAMLError as error:
        # PyYAML quotes the line it stumbled on, and secretArgs may hold a password.
        raise ConfigError(f"objects: not valid YAML: {_where(error)}") from None


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


def _entries(loader: Loader, root: yaml.Node | None) -> tuple[SecretObject, ...]:
    if root is None or _is_null(root):
        return ()
    if not isinstance(root, yaml.SequenceNode):
        raise ConfigError("objects: must be a YAML list")
    return tuple(_entry(loader, number, node) for number, node in enumerate(root.value))


def _entry(loader: Loader, number: int, node: yaml.Node) -> SecretObject:
    if _is_null(node):
        return SecretObject()
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"objects[{number}]: must be a mapping")
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        if name in fields:
            raise ConfigError(f"objects[{number}]: {name} is given twice")
        fields[name] = value
    where = f"objects[{number}]"
    text = {name: _text(f"{where}.{name}", fields.get(name)) for name in _TEXT_FIELDS}
    return SecretObject(
        name=text["objectName"],
        path=text["secretPath"],
        key=text["secretKey"],
        method=text["method"],
        args=_arguments(loader, f"{where}.secretArgs", fields.get("secretArgs")),
        mode=_mode(f"{where}.filePermission", fields.get("filePermission")),
        encoding=text["encoding"],
    )


def _text(where: str, node: yaml.Node | None) -> str:
    """A scalar exactly as written: `secretKey: 007` names the key "007"."""
    if node is None or _is_null(node):
        return ""
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{where}: must be text")
    value = str(node.value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{where}: holds half a surrogate pair") from None
    return value


def _mode(where: str, node: yaml.Node | None) -> int:
    if node is None or _is_null(node):
        return 0
    written = node.value if isinstance(node, yaml.ScalarNode) and node.style is None else None
    if (
        not isinstance(written, str)
        or not INTEGER.fullmatch(written)
        or len(written) > LONGEST_NAME
    ):
        raise ConfigError(f"{where}: must be a number such as 0644")
    mode = parse_integer(written)
    if not 0 <= mode <= LARGEST_MODE:
        raise ConfigError(f"{where}: {written} is not a file mode; modes are octal, such as 0644")
    return mode


def _arguments(loader: Loader, where: str, node: yaml.Node | None) -> Mapping[str, Any] | None:
    if node is None or _is_null(node):
        return None
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{where}: must be a mapping")
    arguments: dict[str, Any] = loader.construct_document(node)
    try:
        gojson.dumps(arguments).encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from None
    return arguments


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and str(node.tag) == "tag:yaml.org,2002:null"


def _where(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    mark = error.problem_mark
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{error.problem or error.context}{place}"
