"""The pods of lab 00: they wait, or run one command and end.

All but one fit Pod Security's `restricted`. `node_reader` does not: it mounts a folder of
the node and reads it as root, which is what the step about it is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness import expect
from harness.context import LabContext
from harness.errors import GaveUp

WAIT = ("sleep", "infinity")
FOLDER = "/secrets"
SINGLE = "/single"
PODS_ON_NODE = "/var/lib/kubelet/pods"
# Each Secret volume is a memory file system in the pod's folder on the node. What is told is
# a sum and a path: the path has the pod's UID and the volume's name in it.
FIND_ON_NODE = (
    "find /node -path '*kubernetes.io~secret*' -type l -name password -exec sha256sum {} + ; true"
)


def from_secret(secret: str, key: str = "password", variable: str = "PASSWORD") -> Any:
    """An environment variable that kubelet fills from a Secret."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def pod_spec(
    lab: LabContext,
    *,
    command: Sequence[str] = WAIT,
    env: Sequence[Any] = (),
    volume: str = "",
    single: bool = False,
) -> Any:
    """The specification of a pod with one container, `app`.

    `env` are its variables. `volume` is a Secret that is mounted at /secrets; with `single`
    its key password is mounted once more, by subPath, as /single/password.
    """
    mounts: list[Any] = [{"name": "secret", "mountPath": FOLDER, "readOnly": True}]
    if single:
        mounts.append({"name": "secret", "mountPath": f"{SINGLE}/password", "subPath": "password"})
    return {
        "restartPolicy": "Always" if command == WAIT else "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "app",
                "image": lab.image("app"),
                "imagePullPolicy": "IfNotPresent",
                "command": list(command),
                "env": list(env),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
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


def file_sum(lab: LabContext, name: str, path: str) -> str:
    """The SHA-256 of a file in a pod, "" when there is no such file."""
    said = lab.kube.exec(name, f"sha256sum < {path} 2>/dev/null || true").split()
    return said[0] if said else ""


def env_sum(lab: LabContext, name: str) -> str:
    """The SHA-256 of the environment variable PASSWORD of a pod's container."""
    return lab.kube.exec(name, 'printf %s "$PASSWORD" | sha256sum').split()[0]


def expect_running(lab: LabContext, name: str, namespace: str = "") -> None:
    """State that a pod runs (it is given a moment, a check may come early)."""
    found = lab.kube.get("Pod", name, namespace)
    expect(found, f"there is a pod {name}")
    phase = ((found or {}).get("status") or {}).get("phase")
    expect(
        phase == "Running" or _soon(lab, name, namespace),
        f"pod {name} runs",
        found=f"{phase}\n" + "\n".join(lab.kube.events(name, namespace)[-2:]),
        hint=f"kubectl -n {namespace or lab.namespace} describe pod {name}",
    )


def _soon(lab: LabContext, name: str, namespace: str) -> bool:
    def runs() -> bool:
        found = lab.kube.get("Pod", name, namespace) or {}
        return (found.get("status") or {}).get("phase") == "Running"

    try:
        return bool(lab.wait_for(f"pod {name} to run", runs, timeout=10))
    except GaveUp:
        return False
