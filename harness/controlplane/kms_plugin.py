"""A KMS plugin on the node: a static pod and its files, there before the API server is."""

from __future__ import annotations

import json
from collections.abc import Mapping

from harness.base.wait import wait_for
from harness.controlplane.apiserver import EVERY, READY_SECONDS, STOP_SECONDS, pod_id
from harness.controlplane.node import Node
from harness.controlplane.settings import FOLDER, PLUGIN_FILES, SOCKETS, Plugin, dump

# The record of the plugin on the node: `stop` reads from it which files to remove.
PLUGIN = f"{FOLDER}/plugin.json"


def present(node: Node) -> Plugin | None:
    """The plugin that the node has, None for none."""
    record = node.read(PLUGIN).get(PLUGIN)
    return plugin_of(record, node.read(*files_of(record))) if record else None


def files_of(record: str | None) -> list[str]:
    """The paths of the plugin's files, from the text of PLUGIN."""
    return [f"{PLUGIN_FILES}/{name}" for name in json.loads(record)["files"]] if record else []


def plugin_of(record: str | None, files: Mapping[str, str]) -> Plugin | None:
    """The plugin in the text of PLUGIN, with its files from among these (path to text)."""
    if not record:
        return None
    kept = json.loads(record)
    found = {path.rpartition("/")[2]: files[path] for path in files_of(record) if path in files}
    return Plugin(kept["pod"], found, kept["user"])


def start(node: Node, plugin: Plugin) -> None:
    """Write its files and manifest, and wait for its socket."""
    if present(node) == plugin and _has_socket(node):
        return
    owner = f"{plugin.user}:{plugin.user}"
    node.run(
        'mkdir -p "$S" "$F" && chown "$O" "$S" "$F" && chmod 700 "$S" "$F"',
        S=SOCKETS,
        F=PLUGIN_FILES,
        O=owner,
    )
    files = {f"{PLUGIN_FILES}/{name}": text for name, text in plugin.files.items()}
    node.write_all(files, "400", owner)
    about = {"pod": plugin.pod, "files": sorted(plugin.files), "user": plugin.user}
    node.write_all({PLUGIN: json.dumps(about), node.manifest(plugin.name): dump(plugin.pod)})
    wait_for(
        f"the KMS plugin {plugin.name} to make its socket",
        lambda: _has_socket(node),
        timeout=READY_SECONDS,
        every=EVERY,
        explain=lambda: "\n".join(node.last_log(plugin.name)[1]),
        hint=f"kubectl -n kube-system describe pod {plugin.name}-{node.name}",
    )


def stop(node: Node) -> None:
    """Remove the plugin and wait until it has ended: before that it revokes its token."""
    plugin = present(node)
    if plugin is None:
        return
    uid = pod_id(node.last_log(plugin.name, lines=0)[0])
    node.remove(node.manifest(plugin.name))
    wait_for(
        f"the KMS plugin {plugin.name} to end",
        lambda: not node.has_group(uid),
        timeout=STOP_SECONDS,
        every=EVERY,
    )
    node.remove(PLUGIN, PLUGIN_FILES)


def _has_socket(node: Node) -> bool:
    look = 'for s in "$S"/*.sock; do [ -S "$s" ] && echo "$s"; done; exit 0'
    return bool(node.run(look, S=SOCKETS).strip())
