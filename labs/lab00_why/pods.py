"""The pods of lab 00: they wait, or run one command and end.

All but one fit Pod Security's `restricted`. `node_reader` does not: it mounts a folder of
the node and reads it as root, which is what the step about it is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.lab.api import LabContext
from harness.lab.kit.pods import confined, unprivileged

WAIT = ("sleep", "infinity")
FOLDER = "/secrets"
SINGLE = "/single"
PODS_ON_NODE = "/var/lib/kubelet/pods"
# Each Secret volume is a memory file system in the pod's folder on the node. What is told is
# a sum and a path: the path has the pod's UID and the volume's name in it.
FIND_ON_NODE = (
    "find /node -path '*kubernetes.io~secret*' -type l -name password -exec sha256sum {} + ; true"
)


def pod_spec(
    lab: LabContext,
    *,
    command: Sequence[str] = WAIT,
    env: Sequence[Any] = (),
    account: str = "",
    volume: str = "",
    single: bool = False,
) -> Any:
    """The specification of a pod with one container, `app`.

    `env` are its variables. It has the token of the service account `account`, or none.
    `volume` is a Secret that is mounted at /secrets; with `single` its key password is mounted
    once more, by subPath, as /single/password.
    """
    mounts: list[Any] = [{"name": "secret", "mountPath": FOLDER, "readOnly": True}]
    if single:
        mounts.append({"name": "secret", "mountPath": f"{SINGLE}/password", "subPath": "password"})
    return {
        "restartPolicy": "Always" if command == WAIT else "Never",
        "serviceAccountName": account or "default",
        "automountServiceAccountToken": bool(account),
        "terminationGracePeriodSeconds": 0,
        "securityContext": unprivileged(),
        "containers": [
            {
                "name": "app",
                "image": lab.image("app"),
                "imagePullPolicy": "IfNotPresent",
                "command": list(command),
                "env": list(env),
                "securityContext": confined(),
                "volumeMounts": mounts if volume else [],
            }
        ],
        "volumes": [{"name": "secret", "secret": {"secretName": volume}}] if volume else [],
    }


def make_pod(lab: LabContext, name: str, namespace: str = "", **options: Any) -> Any:
    """A Pod; options as for `pod_spec`. It bears the labels also when kubectl makes it."""
    metadata = {"name": name, "labels": dict(lab.labels())}
    if namespace:
        metadata["namespace"] = namespace
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": pod_spec(lab, **options),
    }


def deployment(lab: LabContext, name: str, **options: Any) -> Any:
    """A Deployment of one such pod. The old pod ends before the new one starts."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": pod_spec(lab, **options),
            },
        },
    }


def node_reader(lab: LabContext, name: str) -> Any:
    """A pod that reads the Secret volumes of every pod on its node, and prints their sums."""
    made = make_pod(lab, name, command=("sh", "-c", FIND_ON_NODE))
    made["spec"]["securityContext"] = {"runAsUser": 0, "runAsGroup": 0}
    (container,) = made["spec"]["containers"]
    container["volumeMounts"] = [{"name": "node", "mountPath": "/node", "readOnly": True}]
    container.pop("securityContext")
    made["spec"]["volumes"] = [{"name": "node", "hostPath": {"path": PODS_ON_NODE}}]
    return made
