"""Other settings for the API server, changed safely and fast, and the plain ones brought back.

The API server is a static pod: the kubelet runs what its manifest says. A change takes the
manifest away, waits until the old process has ended, and puts the new one there: then whatever
answers is the new one. The plain manifest and the last one that worked are kept on the node, so
that a change that fails or is interrupted is taken back by itself or by the next `./lab up`.
What happens to values in etcd when keys change is in harness.controlplane_keys.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from urllib3.exceptions import HTTPError

from harness.controlplane_manifest import (
    AUDIT_FOLDER,
    AUDIT_LOG,
    AUDIT_POLICY,
    ENCRYPTION,
    FOLDER,
    PLUGIN_FILES,
    SOCKETS,
    Document,
    Plugin,
    Settings,
    Told,
    document,
    is_plain,
    manifest,
    register_keys,
)
from harness.controlplane_node import API_SERVER, MANIFESTS, Node
from harness.errors import GaveUp, LabError
from harness.kube import Kube
from harness.notes import read_json, write_json
from harness.wait import wait_for

PLAIN = f"{FOLDER}/plain/{API_SERVER}.yaml"
GOOD = f"{FOLDER}/good"
PLUGIN = f"{FOLDER}/plugin.json"
MANIFEST = f"{MANIFESTS}/{API_SERVER}.yaml"

READY = "/readyz"
# It lives, whatever it can read.
SERVES = "/livez"
READY_SECONDS = 90.0
STOP_SECONDS = 60.0
REQUEST_SECONDS = 10
# A process that reads a bad file ends within a second or two; the kubelet needs one to start it.
DEAD_LOOKS = 3
EVERY = 0.1
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
        self.folder = folder
        self._kubeconfig = kubeconfig
        self._on_call = on_call

    def __repr__(self) -> str:
        return f"<control plane on {self.node.name}>"

    @cached_property
    def kube(self) -> Kube:
        """The cluster, without labels or a listener."""
        return Kube(self._kubeconfig, "default")

    # -- looking ------------------------------------------------------------------------

    def current(self) -> Settings:
        """The settings as the files on the node say, whoever wrote them.

        Raises LabError when the API server's manifest is missing or none.
        """
        found = self.node.read(MANIFEST, PLUGIN)
        if MANIFEST not in found:
            raise LabError(
                "the API server's manifest is missing, so no API server runs",
                where=f"{self.node.name}:{MANIFEST}",
                hint="./lab up puts the last good one back",
            )
        told = Told.of(found[MANIFEST])
        named = [name for name in (told.encryption, told.audit) if name]
        files = self.node.read(*named) if named else {}
        settings = Settings(
            _loaded(files.get(told.encryption)),
            told.reload,
            _loaded(files.get(told.audit)),
            self._plugin(found.get(PLUGIN)),
        )
        register_keys(settings.encryption)
        return settings

    def raw(self, key: str) -> bytes:
        """What etcd holds under a key (/registry/secrets/lab00/app); b"" for nothing."""
        return next((value for _, value in self.node.values(key, exact=True)), b"")

    def health(self, path: str = READY) -> tuple[int, str]:
        """The status and the text with which the API server answers; 0 when it does not."""
        try:
            answer = self._ask("GET", path)
        except HTTPError as error:
            return 0, str(error)
        return int(answer.status), answer.data.decode(errors="replace")

    def call(self, method: str, path: str, body: Document | None = None) -> tuple[int, Document]:
        """One request to the API server as the administrator: status and answer."""
        try:
            answer = self._ask(method, path, body)
            return int(answer.status), json.loads(answer.data)
        except (HTTPError, ValueError) as error:
            return 0, {"message": str(error)}

    def audit_entries(self) -> list[Document]:
        """The API server's audit log, oldest first; [] when there is none."""
        lines = self.node.run(f"cat {AUDIT_LOG} 2>/dev/null || true").splitlines()
        # The last line may be in the making.
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
        put back and LabError tells its last words.
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
        started = time.monotonic()
        self._say(_told(settings))
        self._keep(settings)
        plain = self.keep_plain()
        before = self._good()
        if settings.plugin:
            self._start_plugin(settings.plugin)
        try:
            self._replace(_files(plain, settings), ready)
        except LabError as error:
            self._back(before, error)
            raise
        if not settings.plugin:
            self._stop_plugin()
        if settings.plain:
            self.node.remove(AUDIT_FOLDER)
        return time.monotonic() - started

    def restart(self, *, ready: str = READY) -> float:
        """A new process with the settings as they are; the seconds until it was ready."""
        return self.apply(self.current(), ready=ready)

    def write_encryption(self, source: str | Document) -> None:
        """Change the file of the encryption configuration and restart nothing.

        An API server with automatic reload takes it over within a minute.
        """
        new = document(source, "EncryptionConfiguration")
        path = Told.of(self.node.read(MANIFEST).get(MANIFEST, "")).encryption
        if not path:
            raise LabError("the API server has no encryption configuration that could be changed")
        self._say(f"# on the node: {path}, without a restart")
        self.node.write(path, _dump(new))

    # -- remembering --------------------------------------------------------------------

    def remember(self) -> str:
        """Keep the present settings in the state folder; returns the name to `recall` them by."""
        return self._keep(self.current())

    def _keep(self, settings: Settings) -> str:
        name = settings.digest()
        file = self._snapshot(name)
        if not file.exists():
            write_json(file, settings.to_json())
        return name

    def recall(self, name: str) -> Settings:
        """The settings that were remembered under this name."""
        found = read_json(self._snapshot(name))
        if not found:
            raise LabError(
                "the earlier settings of the API server are not kept any more",
                where=str(self._snapshot(name)),
                hint="./lab reset of the whole lab returns it to the plain set-up",
            )
        settings = Settings.from_json(found)
        register_keys(settings.encryption)
        return settings

    def snapshots(self) -> list[Settings]:
        """Every remembered state."""
        return [self.recall(file.stem) for file in sorted(self.folder.glob("settings-*.json"))]

    def forget(self) -> None:
        """Remove every remembered state, and with it the keys in them."""
        for file in self.folder.glob("settings-*.json"):
            file.unlink(missing_ok=True)

    def _snapshot(self, name: str) -> Path:
        return self.folder / f"settings-{name.removeprefix('settings-')}.json"

    # -- repairing ----------------------------------------------------------------------

    def was_changed(self) -> bool:
        """Whether anybody has ever changed settings here."""
        return bool(self.node.read(PLAIN))

    def answers(self) -> bool:
        """Whether the API server answers at all, ready or not."""
        return self.health("/version")[0] == 200

    def repair(self, patience: float = READY_SECONDS) -> str:
        """Bring an API server back that somebody stopped or broke; a sentence, "" if it runs.

        `patience` is for one that was just started and needs its time. Nothing is done on a
        node whose control plane was never changed.
        """
        found = self.node.read(MANIFEST, PLAIN)
        if PLAIN not in found or self.answers():
            return ""
        if MANIFEST in found and found[MANIFEST] in (found[PLAIN], self._good().get(MANIFEST)):
            # As it should be: wait, as for any other start, unless it ends by itself.
            try:
                self._wait_ready(SERVES, "", patience)
            except LabError:
                pass
            else:
                return ""
        for files in (self._good(), {MANIFEST: found[PLAIN]}):
            if MANIFEST in files:
                try:
                    self._replace(files, "/version")
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
        found = self.node.read(MANIFEST, PLAIN)
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

    def _good(self) -> dict[str, str]:
        """The files of the last set-up that worked, by their places."""
        names = (MANIFEST, ENCRYPTION, AUDIT_POLICY)
        found = self.node.read(*(f"{GOOD}{name}" for name in names))
        return {name.removeprefix(GOOD): text for name, text in found.items()}

    def _replace(self, files: dict[str, str], ready: str) -> None:
        """Stop the API server, put these files there, wait for it; keep them as good."""
        old = self._stop()
        # The manifest comes last: what it names is there when it is read.
        self.node.write_all(dict(sorted(files.items(), key=lambda file: file[0] == MANIFEST)))
        self._wait_ready(ready, old)
        if ready == READY:
            # They would give up on one that is not.
            self.node.renew_clients()
        self.node.remove(GOOD, *(name for name in (ENCRYPTION, AUDIT_POLICY) if name not in files))
        self.node.write_all({f"{GOOD}{name}": text for name, text in files.items()})
        if ready == READY:
            wait_for(
                "the kubelet to know its pods again",
                self._kubelet_knows_pods,
                timeout=STOP_SECONDS,
                every=EVERY,
            )

    def _kubelet_knows_pods(self) -> bool:
        """Whether the kubelet has heard of its pods from the API: before, it runs no command."""
        _, found = self.call("GET", f"/api/v1/nodes/{self.node.name}/proxy/pods")
        sources = (
            (pod["metadata"].get("annotations") or {}).get("kubernetes.io/config.source")
            for pod in found.get("items") or []
        )
        return "api" in sources

    def _stop(self) -> str:
        """Take the manifest and the process away, wait until the pod is gone; its log's name.

        The process is killed. Told to end, it would wait for its watchers until the kubelet loses
        patience after 30 seconds, and it would take its address out of the Service that pods
        reach it by, which kube-proxy notices long after the next one is there. Its state is in
        etcd, whose transactions are whole or not at all; who has a request under way tries again.
        """
        old = self.node.last_log(lines=0)[0]
        uid = _pod_id(old)
        self.node.end(MANIFEST)
        wait_for(
            "the old API server to end",
            lambda: not self.node.remains(uid),
            timeout=STOP_SECONDS,
            every=EVERY,
            hint="./lab up",
        )
        return old

    def _wait_ready(self, path: str, old: str, timeout: float = READY_SECONDS) -> None:
        """Wait for the new API server; give up at once when it has ended by itself.

        `old` is the log of the one before it, which tells nothing about the new one.
        """
        dead = 0

        def probe() -> bool:
            nonlocal dead
            if self.health(path)[0] == 200:
                return True
            log = self.node.last_log(lines=0)[0]
            gone = log not in ("", old) and not self.node.processes()
            dead = dead + 1 if gone else 0
            if dead >= DEAD_LOOKS:
                raise LabError(
                    "the API server ended by itself; its last words:\n" + self._last_words(),
                    where=self.node.name,
                )
            return False

        try:
            wait_for(
                f"the new API server to answer {path}",
                probe,
                timeout=timeout,
                every=EVERY,
                explain=lambda: self._why_not(path),
            )
        except GaveUp as error:
            raise LabError(error.what, where=self.node.name, hint="./lab up") from error

    def _why_not(self, path: str) -> str:
        """The parts that are not ready, and the last log lines."""
        text = self.health(path + ("&" if "?" in path else "?") + "verbose")[1]
        parts = [line for line in text.splitlines() if line.startswith("[-]")]
        return "\n".join([*parts, self._last_words()])

    def _last_words(self) -> str:
        lines = self.node.last_log(lines=40)[1]
        failed = [line for line in lines if "command failed" in line or line.startswith("F")]
        return "\n".join((failed or lines)[-4:])

    def _back(self, files: dict[str, str], error: LabError) -> None:
        """Put the set-up before a failed change back; add to `error` how that went."""
        try:
            self._replace(files, SERVES)
        except LabError as second:
            error.what += f"\nand the settings before it do not come up either: {second.what}"
            error.hint = "./lab up"
        else:
            error.what += "\nthe settings before it were put back"
        error.args = (error.what,)

    # -- the plugin ---------------------------------------------------------------------

    def _plugin(self, text: str | None) -> Plugin | None:
        if text is None:
            return None
        kept = json.loads(text)
        files = self.node.read(*(f"{PLUGIN_FILES}/{name}" for name in kept["files"]))
        found = {name.rpartition("/")[2]: content for name, content in files.items()}
        return Plugin(kept["pod"], found, kept["user"])

    def _start_plugin(self, plugin: Plugin) -> None:
        """Write its files and manifest, and wait for its socket."""
        if self._plugin(self.node.read(PLUGIN).get(PLUGIN)) == plugin and self._socket():
            return
        owner = f"{plugin.user}:{plugin.user}"
        self.node.run(
            'mkdir -p "$S" "$F" && chown "$O" "$S" "$F" && chmod 700 "$S" "$F"',
            S=SOCKETS,
            F=PLUGIN_FILES,
            O=owner,
        )
        for name, text in plugin.files.items():
            self.node.write(f"{PLUGIN_FILES}/{name}", text, "400", owner)
        about = {"pod": plugin.pod, "files": sorted(plugin.files), "user": plugin.user}
        self.node.write(PLUGIN, json.dumps(about))
        self.node.write(self.node.manifest(plugin.name), _dump(plugin.pod), "644")
        wait_for(
            f"the KMS plugin {plugin.name} to make its socket",
            self._socket,
            timeout=READY_SECONDS,
            every=EVERY,
            explain=lambda: "\n".join(self.node.last_log(plugin.name)[1]),
            hint="kubectl -n kube-system describe pod " + f"{plugin.name}-{self.node.name}",
        )

    def _socket(self) -> bool:
        look = 'for s in "$S"/*.sock; do [ -S "$s" ] && echo "$s"; done; exit 0'
        return bool(self.node.run(look, S=SOCKETS).strip())

    def _stop_plugin(self) -> None:
        """Take it away and wait until it has ended: its last act is to give its token back."""
        found = self.node.read(PLUGIN).get(PLUGIN)
        if not found:
            return
        name = Plugin(**json.loads(found)).name
        uid = _pod_id(self.node.last_log(name, lines=0)[0])
        self.node.remove(self.node.manifest(name))
        wait_for(
            f"the KMS plugin {name} to end",
            lambda: not self.node.remains(uid, "no program"),
            timeout=STOP_SECONDS,
            every=EVERY,
        )
        self.node.remove(PLUGIN, PLUGIN_FILES)

    # -- the API ------------------------------------------------------------------------

    def _ask(self, method: str, path: str, body: Document | None = None) -> Any:
        # The client would try an answer of 429 again, and again; here it is an answer.
        api = self.kube.api
        return api.rest_client.pool_manager.request(
            method,
            f"{api.configuration.host}{path}",
            body=None if body is None else json.dumps(body),
            headers={"Accept": "application/json", "Content-Type": "application/json"},
            retries=False,
            timeout=REQUEST_SECONDS,
        )

    def _say(self, line: str) -> None:
        if self._on_call:
            self._on_call(line)


def _pod_id(log: str) -> str:
    """The kubelet's id of a pod, from the name of its log: namespace_name_ID/container/0.log."""
    return log.partition("/")[0].rpartition("_")[2]


def _files(plain: str, settings: Settings) -> dict[str, str]:
    """Every file of a set-up by its place, the manifest among them."""
    files = {MANIFEST: manifest(plain, settings, str(time.time_ns()))}
    if settings.encryption is not None:
        files[ENCRYPTION] = _dump(settings.encryption)
    if settings.audit is not None:
        files[AUDIT_POLICY] = _dump(settings.audit)
    return files


def _loaded(text: str | None) -> Document | None:
    """A file on the node as a document; {} when somebody made it unreadable."""
    if text is None:
        return None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _dump(value: Document | None) -> str:
    return str(yaml.safe_dump(value, sort_keys=False))


def _told(settings: Settings) -> str:
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
        text += f"\n{_dump(settings.encryption)}"
    return text
