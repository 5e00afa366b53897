"""The API server's settings that labs change, and its static pod's manifest for them.

`Settings` are encryption at rest, an audit policy and a KMS plugin beside the API server.
`manifest` puts them into the plain manifest of kubeadm; `ManagedFlags` finds them in any
manifest, whether the harness or a person wrote it. No I/O: harness.controlplane.change reads
and writes the files that a manifest names.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from harness.base.errors import LabError, UsageError
from harness.base.paths import PROJECT
from harness.base.redact import Secret

Document = dict[str, Any]

# On the node. The folder is the labs' own; the API server sees it under the same path.
FOLDER = "/etc/kubernetes/lab"
ENCRYPTION = f"{FOLDER}/encryption.yaml"
AUDIT_POLICY = f"{FOLDER}/audit-policy.yaml"
AUDIT_FOLDER = "/var/log/kubernetes-audit"
AUDIT_LOG = f"{AUDIT_FOLDER}/audit.log"
SOCKETS = "/run/kms"
PLUGIN_FILES = "/etc/kms"
CHANGE = f"{PROJECT}/change"

_ENCRYPTION = "--encryption-provider-config"
_RELOAD = "--encryption-provider-config-automatic-reload"
_POLICY = "--audit-policy-file"
_LOG = "--audit-log-path"
_OURS = (_ENCRYPTION, _RELOAD, _POLICY, _LOG)


@dataclass(frozen=True)
class Plugin:
    """A KMS plugin: the static pod `pod`, and files that it reads under PLUGIN_FILES.

    The files belong to `user`, and so does the folder of its socket.
    """

    pod: Document
    files: Mapping[str, str] = field(repr=False)
    user: int = 1000

    @property
    def name(self) -> str:
        """The name of its pod, and so of its manifest's file."""
        return str(self.pod["metadata"]["name"])


@dataclass(frozen=True)
class Settings:
    """The API server's settings that labs change; the default is kubeadm's plain set-up.

    `encryption` is an EncryptionConfiguration, `audit` an audit Policy. With `reload` the API
    server looks at the encryption configuration each minute and takes a changed one over.
    """

    encryption: Document | None = field(default=None, repr=False)
    reload: bool = False
    audit: Document | None = None
    plugin: Plugin | None = None

    @property
    def plain(self) -> bool:
        """Whether nothing differs from kubeadm's set-up."""
        return self == Settings()

    def to_json(self) -> Document:
        """A JSON object of all settings, keys included: for files that only their owner reads."""
        plugin = self.plugin
        return {
            "encryption": self.encryption,
            "reload": self.reload,
            "audit": self.audit,
            "plugin": plugin
            and {"pod": plugin.pod, "files": dict(plugin.files), "user": plugin.user},
        }

    @classmethod
    def from_json(cls, value: Document) -> Settings:
        """The settings that `to_json` wrote."""
        plugin = value.get("plugin")
        return cls(
            value.get("encryption"),
            bool(value.get("reload")),
            value.get("audit"),
            Plugin(**plugin) if plugin else None,
        )

    def digest(self) -> str:
        """A name for these settings: equal settings have the same one. It reveals no key."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def document(source: str | Document | None, kind: str) -> Document | None:
    """`source` as a document of this kind. Raises UsageError when it is something else."""
    if source is None:
        return None
    try:
        found = yaml.safe_load(source) if isinstance(source, str) else source
    except yaml.YAMLError as error:
        # The text of the YAML error would show the line, and the line may hold a key.
        mark = getattr(error, "problem_mark", None)
        raise UsageError(
            f"this {kind} is not YAML" + (f": line {mark.line + 1}" if mark else ""),
            hint="mind the indentation",
        ) from None
    if not isinstance(found, dict) or found.get("kind") != kind:
        raise UsageError(f"this is no {kind}", hint=f"its `kind:` must be {kind}")
    register_keys(found)
    return found


def register_keys(encryption: Document | None) -> None:
    """Make `redact` mask every key of an EncryptionConfiguration."""
    for _, key in keys_of(encryption):
        if isinstance(key.get("secret"), str):
            Secret(key["secret"])


def keys_of(encryption: Document | None) -> list[tuple[str, Document]]:
    """Every local key of a configuration with the kind of its provider."""
    return [
        (kind, key)
        for entry in (encryption or {}).get("resources") or []
        for provider in entry.get("providers") or []
        for kind, options in provider.items()
        for key in (options or {}).get("keys") or []
    ]


def manifest(plain: str, settings: Settings, change: str) -> str:
    """The manifest of an API server with these settings; `plain` itself when there are none.

    `change` becomes an annotation: the kubelet then sees a different pod and starts it at
    once, instead of backing off because the old one has failed before.
    """
    if settings.encryption is None and settings.audit is None:
        return plain
    pod = copy.deepcopy(_pod(plain))
    pod["metadata"].setdefault("annotations", {})[CHANGE] = change
    container = pod["spec"]["containers"][0]
    command = container["command"]
    _mount(pod, "lab", FOLDER, "Directory", read_only=True)
    if settings.encryption is not None:
        command.append(f"{_ENCRYPTION}={ENCRYPTION}")
        if settings.reload:
            command.append(f"{_RELOAD}=true")
    if settings.plugin:
        _mount(pod, "kms", SOCKETS, "DirectoryOrCreate", read_only=True)
    if settings.audit is not None:
        command += [f"{_POLICY}={AUDIT_POLICY}", f"{_LOG}={AUDIT_LOG}"]
        _mount(pod, "audit", AUDIT_FOLDER, "DirectoryOrCreate", read_only=False)
    return dump(pod)


@dataclass(frozen=True)
class ManagedFlags:
    """The flags of an API server that labs change: the files' paths, "" where one is not set."""

    encryption: str = ""
    reload: bool = False
    audit: str = ""

    @classmethod
    def of(cls, text: str) -> ManagedFlags:
        """The flags in a manifest. Raises LabError when the text is no manifest of a pod."""
        flags = _flags(_pod(text))
        return cls(flags.get(_ENCRYPTION, ""), flags.get(_RELOAD) == "true", flags.get(_POLICY, ""))


def is_plain(text: str) -> bool:
    """Whether a manifest sets none of the flags that labs change."""
    return not set(_flags(_pod(text))) & set(_OURS)


def advertised(text: str) -> str:
    """The address that a manifest's API server advertises; "" when it names none."""
    return _flags(_pod(text)).get("--advertise-address", "")


def dump(value: Document | None) -> str:
    """A document as YAML, in its own order."""
    return str(yaml.safe_dump(value, sort_keys=False))


def _flags(pod: Document) -> dict[str, str]:
    words = [*pod["spec"]["containers"][0]["command"]]
    words += pod["spec"]["containers"][0].get("args") or []
    pairs = (word.partition("=") for word in words if word.startswith("--"))
    return {name: value if equals else "true" for name, equals, value in pairs}


def _pod(text: str) -> Document:
    try:
        pod = yaml.safe_load(text)
        pod["spec"]["containers"][0]["command"][0]
    except (yaml.YAMLError, TypeError, KeyError, IndexError) as error:
        raise LabError(
            "the manifest of the API server is no pod with a command",
            hint="./lab up puts the last good one back",
        ) from error
    return dict(pod)


def _mount(pod: Document, name: str, path: str, kind: str, *, read_only: bool) -> None:
    pod["spec"].setdefault("volumes", []).append(
        {"name": name, "hostPath": {"path": path, "type": kind}}
    )
    pod["spec"]["containers"][0].setdefault("volumeMounts", []).append(
        {"name": name, "mountPath": path, "readOnly": read_only}
    )
