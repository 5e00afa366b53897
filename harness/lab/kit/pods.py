"""What the labs' pods have in common, and what checks ask of a pod.

A pod of a lab has no right that it does not need: the two security contexts are what the
level `restricted` asks for (Kubernetes documentation, "Pod Security Standards"). A check
compares a secret by its SHA-256, computed in the pod: the value itself stays there.
"""

from __future__ import annotations

from typing import Any

from harness.base.errors import GaveUp
from harness.clients.kube import Object
from harness.lab.context import LabContext
from harness.lab.steps import expect

# A check may come a moment before its pod has started.
SOON_SECONDS = 10.0


def unprivileged() -> Object:
    """The security context of a pod that is not root."""
    return {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def confined() -> Object:
    """The security context of a container that can get no right and write no file of its image."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def from_secret(variable: str, secret: str, key: str) -> Any:
    """An environment variable that is filled from a Secret when the container starts."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def file_sum(lab: LabContext, pod: str, path: str, container: str = "") -> str:
    """The SHA-256 of a file in a pod, "" when it cannot be read."""
    said = lab.kube.exec(pod, f"sha256sum <'{path}' 2>/dev/null || true", container=container)
    return said.partition(" ")[0].strip()


def env_sum(lab: LabContext, pod: str, variable: str) -> str:
    """The SHA-256 of an environment variable of a pod's container."""
    return lab.kube.exec(pod, f'printf %s "${variable}" | sha256sum').partition(" ")[0]


def pod_events(lab: LabContext, pod: str, namespace: str = "") -> list[str]:
    """The events of the present pod of this name: those of an undone attempt stay about."""
    found = lab.kube.get("Pod", pod, namespace)
    return lab.kube.events(pod, namespace, found["metadata"]["uid"]) if found else []


def expect_running(lab: LabContext, pod: str, namespace: str = "", meaning: str = "") -> None:
    """State that a pod runs; `meaning` is what that shows, the failure tells its last events."""
    expect(lab.kube.get("Pod", pod, namespace), f"there is a pod {pod}")
    runs = _soon(lab, pod, namespace)
    seen = [] if runs else [_phase(lab, pod, namespace), *pod_events(lab, pod, namespace)[-2:]]
    expect(
        runs,
        f"pod {pod} runs{meaning and f': {meaning}'}",
        found="\n".join(seen),
        hint=f"kubectl -n {namespace or lab.namespace} describe pod {pod}",
    )


def _phase(lab: LabContext, pod: str, namespace: str) -> str:
    found = lab.kube.get("Pod", pod, namespace) or {}
    return str((found.get("status") or {}).get("phase", ""))


def _soon(lab: LabContext, pod: str, namespace: str) -> bool:
    try:
        return lab.wait_for(
            f"pod {pod} to run",
            lambda: _phase(lab, pod, namespace) == "Running",
            timeout=SOON_SECONDS,
        )
    except GaveUp:
        return False
