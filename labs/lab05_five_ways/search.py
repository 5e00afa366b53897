"""Looking for values everywhere: the node's files and processes, the API, logs, Vault's audit log.

The values travel by standard input and lie in a file in memory while the node is searched: a
command line can be seen by others. What comes back is only used to say whose value it is.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from datetime import datetime

from harness.lab.api import LabContext
from labs.lab05_five_ways.installed import pods_in_cluster
from labs.lab05_five_ways.ways import WAYS

# What is shown for each place, in the order of the table.
PLACES = {
    "etcd": "etcd's files",
    "objects": "kubectl get -o yaml",
    "environment": "process environment",
    "arguments": "command lines",
    "memory": "memory volumes",
    "disk": "the node's disk",
    "events": "events",
    "logs": "logs of all parts",
    "audit": "Vault's audit log",
}
SEARCH_SECONDS = 120

# On the node. What follows the tab is the value that was found; nothing of it is shown.
ON_NODE = """
values=/dev/shm/lab05-values
trap 'rm -f $values' EXIT
cat > $values
mark() { sort -u | sed "s/^/$1\\t/"; }
grep -rohaF -f $values /var/lib/etcd/member 2>/dev/null | mark etcd
grep -ohaF -f $values /proc/[0-9]*/environ 2>/dev/null | mark environment
grep -ohaF -f $values /proc/[0-9]*/cmdline 2>/dev/null | mark arguments
find /var/lib/kubelet/pods -fstype tmpfs -type f -exec grep -ohaF -f $values {} + 2>/dev/null |
  mark memory
find /var/lib/kubelet /var/lib/containerd /var/log /etc -xdev -type f -newermt SINCE \
  -exec grep -ohaF -f $values {} + 2>/dev/null | mark disk
"""


def find_everywhere(lab: LabContext, values: Mapping[str, str]) -> dict[str, dict[str, bool]]:
    """For each name of a value and each place: whether the value was found there."""
    texts = {
        "objects": _objects(lab),
        "events": lab.run("kubectl get events -A -o json"),
        "logs": _logs(lab),
        "audit": _audit(lab),
    }
    on_node = _on_node(lab, values)
    return {
        name: {
            place: value in texts[place] if place in texts else (place, value) in on_node
            for place in PLACES
        }
        for name, value in values.items()
    }


def _on_node(lab: LabContext, values: Mapping[str, str]) -> set[tuple[str, str]]:
    """Pairs of a place on the node and a value that was found there."""
    made = (lab.kube.get("Namespace", lab.namespace) or {})["metadata"]["creationTimestamp"]
    since = int(datetime.fromisoformat(str(made)).timestamp())
    script = ON_NODE.replace("SINCE", f"@{since}")
    node = lab.shell_variables()["NODE"]
    with lab.quiet():
        said = lab.run(
            f"docker exec -i {node} bash -c {shlex.quote(script)}",
            stdin="\n".join(values.values()) + "\n",
            timeout=SEARCH_SECONDS,
        )
    pairs = (line.partition("\t") for line in said.splitlines())
    return {(place, value) for place, _, value in pairs}


def _objects(lab: LabContext) -> str:
    """Every object of the cluster but events as JSON, with the values of Secrets decoded."""
    kinds = lab.run("kubectl api-resources --verbs=list -o name").split()
    wanted = ",".join(kind for kind in kinds if not kind.startswith("events"))
    # Warnings about old kinds come on the other channel.
    command = f"sh -c 'kubectl get {wanted} -A -o json 2>/dev/null'"
    text = lab.run(command, timeout=SEARCH_SECONDS)
    decoded = [
        base64.b64decode(value).decode(errors="replace")
        for one in json.loads(text)["items"]
        if one["kind"] == "Secret"
        for value in (one.get("data") or {}).values()
    ]
    return "\n".join([text, *decoded])


def _logs(lab: LabContext) -> str:
    """What the pods of all ways and of the lab, and the control plane, have printed."""
    pods = [pod for way in WAYS for pod in pods_in_cluster(lab, way)]
    for namespace in (lab.namespace, "kube-system"):
        found = lab.kube.list("Pod", namespace)
        pods += [(namespace, str(pod["metadata"]["name"])) for pod in found]
    return "\n".join(
        lab.kube.logs(name, namespace, container)
        for namespace, name in dict.fromkeys(pods)
        for container in _containers(lab, namespace, name)
    )


def _containers(lab: LabContext, namespace: str, name: str) -> list[str]:
    spec = (lab.kube.get("Pod", name, namespace) or {"spec": {}})["spec"]
    every = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return [str(one["name"]) for one in every]


def _audit(lab: LabContext) -> str:
    """Vault's audit log since the lab began."""
    log = lab.audit_since(1)
    with log.file.open("rb") as stream:
        stream.seek(log.start)
        return stream.read().decode(errors="replace")
