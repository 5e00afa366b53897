"""What the steps of lab 03 are made of: pods that ask for an agent, and looks into them.

The application is a shell that sleeps: it knows nothing of Vault. Files are compared by
SHA-256, computed in the pod, so that no value passes through a check.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from harness import expect
from harness.lab.api import GaveUp, LabContext, Object
from harness.lab.kit import pods

T = TypeVar("T")

PREFIX = "vault.hashicorp.com/"
STATUS = f"{PREFIX}agent-inject-status"
AGENT, INIT = "vault-agent", "vault-agent-init"
SECRETS = "/vault/secrets"
# Who the pod's ordinary token is made for: the API server. The injector uses that token.
API_AUDIENCE = "https://kubernetes.default.svc.cluster.local"


def asking(lab: LabContext, wishes: Mapping[str, str], role: str = "app") -> dict[str, str]:
    """The annotations of a pod that asks for an agent; `wishes` go without their prefix.

    An empty value leaves the annotation out.
    """
    wanted = {
        "agent-inject": "true",
        "role": role,
        "auth-path": f"auth/{lab.path('kubernetes')}",
        **wishes,
    }
    return {PREFIX + name: value for name, value in wanted.items() if value}


def app_pod(
    lab: LabContext,
    name: str,
    annotations: Mapping[str, str] | None = None,
    *,
    command: Sequence[str] = ("sleep", "infinity"),
    account: str = "app",
    namespace: str = "",
    grace: int = 1,
) -> Any:
    """A pod with one container `app` that is not root and can write to `/memory` only.

    `grace` is how long its containers may take to end, in seconds.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace or lab.namespace,
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "serviceAccountName": account,
            "terminationGracePeriodSeconds": grace,
            "containers": [container(lab, "app", command)],
            "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        },
    }


def container(
    lab: LabContext, name: str, command: Sequence[str] = ("sleep", "infinity")
) -> dict[str, Any]:
    """A container of the labs' application image, as user 1000 with no rights."""
    return {
        "name": name,
        "image": lab.image("app"),
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
    }


def names(pod: Object | None, field: str = "containers") -> list[str]:
    """The names of the pod's containers, initContainers or volumes, sorted."""
    spec = (pod or {}).get("spec") or {}
    return sorted(str(one["name"]) for one in spec.get(field) or [])


def find_container(pod: Object, name: str) -> dict[str, Any]:
    """The container or init container of this name; {} when the pod has none."""
    spec = pod["spec"]
    every = [*(spec.get("initContainers") or []), *spec["containers"]]
    return next((dict(one) for one in every if one["name"] == name), {})


def _variable(pod: Object, container: str, name: str) -> str:
    """A variable of a container, "" without one."""
    listed = find_container(pod, container).get("env") or []
    env = {one["name"]: one.get("value", "") for one in listed}
    return str(env.get(name, ""))


def agent_config(pod: Object, name: str = AGENT) -> dict[str, Any]:
    """The configuration that the agent of this name was started with; {} without one."""
    return dict(json.loads(base64.b64decode(_variable(pod, name, "VAULT_CONFIG")) or "{}"))


def given_ca(pod: Object, name: str = INIT) -> str:
    """The CA that the injector has handed to this agent, as PEM."""
    return _variable(pod, name, "VAULT_CACERT_BYTES").strip()


def status_of(pod: Object, name: str) -> dict[str, Any]:
    """The status of one container of the pod; {} while it has none."""
    status = pod.get("status") or {}
    every = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    return next((dict(one) for one in every if one["name"] == name), {})


def file_sum(lab: LabContext, pod: str, file: str, container: str = "app") -> str:
    """The SHA-256 of a file in the pod, "" when it cannot be read."""
    return pods.file_sum(lab, pod, file, container)


def show(lab: LabContext, pod: str, command: str, container: str = "app") -> str:
    """What a command prints in the pod, with its errors; its status does not matter."""
    return lab.kube.exec(pod, f"({command}) 2>&1 || true", container=container).strip()


def wait_quietly(
    lab: LabContext,
    what: str,
    probe: Callable[[], T],
    *,
    timeout: float = 60,
    explain: Callable[[], str] | None = None,
) -> T:
    """`lab.wait_for` without telling of each look: a tour shows what is done, not how often."""
    with lab.quiet():
        return lab.wait_for(what, probe, timeout=timeout, explain=explain)


def agent_log(lab: LabContext, pod: str) -> str:
    """What the init agent of a pod has printed so far; "" when there is none."""
    return lab.kube.logs(pod, container=INIT) if lab.kube.get("Pod", pod) else ""


def wait_for_words(lab: LabContext, pod: str, reason: str, seconds: float = 60) -> None:
    """Wait until the pod's init agent has printed `reason`."""
    wait_quietly(
        lab,
        f"the agent of {pod} to be refused: {reason}",
        lambda: reason in agent_log(lab, pod),
        timeout=seconds,
        explain=lambda: lab.kube.explain_pod(pod),
    )


def expect_waiting(lab: LabContext, pod: str, reason: str) -> Object:
    """State that the pod's application waits and that its init agent says why; the pod."""
    found = lab.kube.get("Pod", pod) or {"status": {"phase": "no such pod"}}
    expect(
        found["status"]["phase"] == "Pending" and not status_of(found, "app").get("started"),
        f"{pod}: its application does not start",
        found=found["status"]["phase"],
    )
    try:
        # An agent that has just been restarted gets a moment to say it again.
        wait_for_words(lab, pod, reason, seconds=10)
        said = True
    except GaveUp:
        said = False
    expect(said, f"{pod}: the agent's log says why, {reason}", found=agent_log(lab, pod)[-300:])
    return found


def expect_running(lab: LabContext, pod: str, namespace: str = "") -> Object:
    """State that the pod is there and ready; return it."""
    expect(lab.kube.get("Pod", pod, namespace), f"there is a pod {pod}")
    return lab.kube.wait_for_pod(pod, namespace=namespace, timeout=45)
