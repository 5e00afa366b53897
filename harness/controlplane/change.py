"""Changing the API server's settings safely, and returning to the plain ones.

A change is a restart (harness.controlplane.apiserver). The plain manifest and the last settings
that worked are kept on the node: a change that fails is rolled back at once, one that was
interrupted by the next `./lab up`. All settings that were ever in use are kept in the state
folder, with their keys. What happens to values in etcd when keys change is in
harness.controlplane.encryption.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import LabError
from harness.controlplane import kms_plugin
from harness.controlplane.apiserver import GOOD, MANIFEST, READY, SERVES, ApiServer
from harness.controlplane.contract import ADDRESS_FILE, API_SERVER
from harness.controlplane.history import Memory
from harness.controlplane.node import STOPPED, Node
from harness.controlplane.settings import (
    AUDIT_FOLDER,
    AUDIT_LOG,
    AUDIT_POLICY,
    ENCRYPTION,
    FOLDER,
    Document,
    ManagedFlags,
    Plugin,
    Settings,
    advertised,
    document,
    dump,
    is_plain,
    manifest,
    register_keys,
)

__all__ = ["READY", "SERVES", "ControlPlane", "Plugin", "Settings"]

PLAIN = f"{FOLDER}/plain/{API_SERVER}.yaml"
_SAME: Any = object()


class ControlPlane:
    """The control plane of one environment. `folder` is its own in the environment's state."""

    def __init__(
        self,
        node: str,
        kubeconfig: Path,
        folder: Path,
        on_call: Callable[[str], None] | None = None,
    ) -> None:
        self.node = Node(node)
        self.memory = Memory(folder)
        self.server = ApiServer(self.node, kubeconfig)
        self._on_call = on_call

    def __repr__(self) -> str:
        return f"<control plane on {self.node.name}>"

    # -- looking ------------------------------------------------------------------------

    def current(self) -> Settings:
        """The settings in the files on the node, by whomever they were written.

        Raises LabError when the API server's manifest is missing or is no manifest.
        """
        # Each read starts a process in the node: one reads these two, one the files they name.
        found = self.node.read(MANIFEST, kms_plugin.PLUGIN)
        if MANIFEST not in found:
            raise LabError(
                "the API server's manifest is missing, so no API server runs",
                where=f"{self.node.name}:{MANIFEST}",
                hint="./lab up puts the last good one back",
            )
        flags = ManagedFlags.of(found[MANIFEST])
        named = [name for name in (flags.encryption, flags.audit) if name]
        plugin = found.get(kms_plugin.PLUGIN)
        wanted = [*named, *kms_plugin.files_of(plugin)]
        files = self.node.read(*wanted) if wanted else {}
        settings = Settings(
            _loaded(files.get(flags.encryption)),
            flags.reload,
            _loaded(files.get(flags.audit)),
            kms_plugin.plugin_of(plugin, files),
        )
        register_keys(settings.encryption)
        return settings

    def health(self, path: str = READY) -> tuple[int, str]:
        """The status and the text with which the API server answers; 0 when it does not."""
        return self.server.health(path)

    def call(self, method: str, path: str, body: Document | None = None) -> tuple[int, Document]:
        """One request to the API server as the administrator: status and answer."""
        return self.server.call(method, path, body)

    def raw(self, key: str) -> bytes:
        """What etcd holds under a key (/registry/secrets/lab00/app); b"" for nothing."""
        return next((value for _, value in self.node.values(key, exact=True)), b"")

    def audit_entries(self) -> list[Document]:
        """The API server's audit log, oldest first; [] when there is none."""
        lines = self.node.run(f"cat {AUDIT_LOG} 2>/dev/null || true").splitlines()
        # The API server may still be writing the last line.
        return [json.loads(line) for line in lines if line.endswith(b"}")]

    # -- changing -----------------------------------------------------------------------

    def set(
        self,
        encryption: str | Document | None = _SAME,
        *,
        reload: bool = _SAME,
        audit: str | Document | None = _SAME,
        plugin: Plugin | None = _SAME,
        ready: str = READY,
    ) -> float:
        """Change these settings and leave the others; the seconds until the new one was ready.

        `encryption` and `audit` are YAML or documents, None for none. `ready` is the path
        that must answer 200. When the new API server does not come up, the old settings are
        put back and the LabError quotes its last log lines.
        """
        old = self.current()
        new = Settings(
            old.encryption
            if encryption is _SAME
            else document(encryption, "EncryptionConfiguration"),
            old.reload if reload is _SAME else reload,
            old.audit if audit is _SAME else document(audit, "Policy"),
            old.plugin if plugin is _SAME else plugin,
        )
        return self.apply(new, ready=ready)

    def apply(self, settings: Settings, *, ready: str = READY) -> float:
        """Restart the API server with exactly these settings; see `set`."""
        self._say(_in_words(settings))
        return self._change(settings, ready)

    def restart(self, *, ready: str = READY) -> float:
        """A new process with the settings as they are; the seconds until it was ready."""
        self._say("# kube-apiserver: a restart with the settings that it has")
        return self._change(self.current(), ready)

    def _change(self, settings: Settings, ready: str) -> float:
        started = time.monotonic()
        self.memory.keep(settings)
        plain = self.keep_plain()
        before, plugin = self.server.good(), kms_plugin.present(self.node)
        if settings.plugin:
            kms_plugin.start(self.node, settings.plugin)
        try:
            self.server.replace(_files(plain, settings), ready)
        except LabError as error:
            self._back(before, error)
            if not plugin:
                kms_plugin.stop(self.node)
            raise
        if not settings.plugin:
            kms_plugin.stop(self.node)
        if settings.plain:
            self.node.remove(AUDIT_FOLDER)
        return time.monotonic() - started

    def write_encryption(self, source: str | Document) -> None:
        """Change the file of the encryption configuration and restart nothing.

        An API server with automatic reload takes it over within a minute.
        """
        new = document(source, "EncryptionConfiguration")
        path = ManagedFlags.of(self.node.read(MANIFEST).get(MANIFEST, "")).encryption
        if not path:
            raise LabError("the API server has no encryption configuration that could be changed")
        self._say(f"# on the node: {path}, without a restart")
        self.memory.keep(replace(self.current(), encryption=new))
        self.node.write(path, dump(new))

    def remember(self) -> str:
        """Keep the present settings; returns the name to `recall` them by."""
        return self.memory.keep(self.current())

    # -- repairing ----------------------------------------------------------------------

    def was_changed(self) -> bool:
        """Whether the settings have ever been changed on this node."""
        return bool(self.node.read(PLAIN))

    def repair(self) -> str:
        """Start an API server again that was stopped or broken; a sentence, "" if it runs.

        One that was just started is waited for. Nothing is done on a node whose control plane
        was never changed.
        """
        found = self._kept()
        if PLAIN not in found or self.server.answers():
            return ""
        good = self.server.good()
        if found.get(MANIFEST) in (found[PLAIN], good.get(MANIFEST, found[PLAIN])):
            # The manifest is good: wait as for any other start, unless the process ends by itself.
            self.node.write(STOPPED, "")
            try:
                self.server.wait_ready(SERVES)
            except LabError:
                pass
            else:
                return ""
        with contextlib.suppress(LabError):
            self.remember()  # the settings that are replaced may hold keys
        for files in (good, {MANIFEST: found[PLAIN]}):
            if MANIFEST not in files:
                continue
            try:
                self.server.replace(files, SERVES)
            except LabError:
                continue
            return "put the last good settings of the API server back"
        raise LabError(
            "the API server does not come up, not even with its plain settings:\n"
            + "\n".join(self.node.last_log()[1]),
            where=self.node.name,
            hint="./lab down, then ./lab up",
        )

    # -- inside -------------------------------------------------------------------------

    def keep_plain(self) -> str:
        """The manifest that kubeadm wrote; it is kept before the first change."""
        found = self._kept()
        if PLAIN in found:
            return found[PLAIN]
        if MANIFEST not in found or not is_plain(found[MANIFEST]):
            raise LabError(
                "the API server was changed before its plain manifest could be kept",
                where=f"{self.node.name}:{MANIFEST}",
                hint="./lab down, then ./lab up",
            )
        plain = found[MANIFEST]
        self.node.write_all({PLAIN: plain, f"{GOOD}{MANIFEST}": plain})
        return plain

    def _kept(self) -> dict[str, str]:
        """The present manifest and the plain one, as far as they are there.

        A node that was restarted may have another address. kind corrects it in its own files;
        in those that are kept here it is corrected now.
        """
        copies = (PLAIN, f"{GOOD}{MANIFEST}")
        found = self.node.read(MANIFEST, ADDRESS_FILE, *copies)
        new = found.pop(ADDRESS_FILE, "").strip()
        old = advertised(found[PLAIN]) if PLAIN in found else ""
        if old and new and old != new:
            whole = re.compile(rf"\b{re.escape(old)}\b")
            corrected = {name: whole.sub(new, found[name]) for name in copies if name in found}
            self.node.write_all(corrected)
            found |= corrected
        return found

    def _back(self, files: Mapping[str, str], error: LabError) -> None:
        """Put the set-up before a failed change back; add to `error` how that went."""
        try:
            self.server.replace(files, SERVES)
        except LabError as second:
            error.what += f"\nand the settings before it do not come up either: {second.what}"
            error.hint = "./lab up"
        else:
            error.what += "\nthe settings before it were put back"
        error.args = (error.what,)

    def _say(self, line: str) -> None:
        if self._on_call:
            self._on_call(line)


def _files(plain: str, settings: Settings) -> dict[str, str]:
    """Every file of a set-up by its place, the manifest among them."""
    files = {MANIFEST: manifest(plain, settings, str(time.time_ns()))}
    if settings.encryption is not None:
        files[ENCRYPTION] = dump(settings.encryption)
    if settings.audit is not None:
        files[AUDIT_POLICY] = dump(settings.audit)
    return files


def _loaded(text: str | None) -> Document | None:
    """A file on the node as a document; {} when it is no YAML document."""
    if text is None:
        return None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _in_words(settings: Settings) -> str:
    """The change in words, for the listener."""
    if settings.plain:
        return "# kube-apiserver: its plain settings again (a restart)"
    flags = [
        *([f"--encryption-provider-config={ENCRYPTION}"] if settings.encryption else []),
        *(["--encryption-provider-config-automatic-reload=true"] if settings.reload else []),
        *([f"--audit-policy-file={AUDIT_POLICY}"] if settings.audit else []),
    ]
    text = f"# kube-apiserver {' '.join(flags)} (a restart)"
    if settings.encryption:
        text += f"\n{dump(settings.encryption)}"
    return text
