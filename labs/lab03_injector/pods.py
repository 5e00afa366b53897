"""What the steps of lab 03 are made of: pods that ask for an agent, and looks into them.

The application is a shell that sleeps: it knows nothing of Vault. Files are compared by
SHA-256, computed in the pod, so that no value passes through a check.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, TypeVar

import yaml

from harness import expect
from harness.lab.api import CommandFailed, GaveUp, LabContext, Object
from harness.lab.kit import pods

T = TypeVar("T")

PREFIX = "vault.hashicorp.com/"
STATUS = f"{PREFIX}agent-inject-status"
AGENT, INIT = "vault-agent", "vault-agent-init"
SECRETS = "/vault/secrets"
# Who the pod's ordinary token is made for: the API server. The injector uses that token.
API_AUDIENCE = "https://kubernetes.default.svc.cluster.local"


def manifest(lab: LabContext, file: str) -> Object:
    """One of the lab's manifests, with its container's image set to the labs' application."""
    pod: Object = yaml.safe_load((lab.source / "manifests" / file).read_text(encoding="utf-8"))
    pod["spec"]["containers"][0]["image"] = lab.image("app")
    return pod


def would_store(lab: LabContext, pod: Object) -> Object:
    """What the API server would store for `pod`, after all admission; nothing is created."""
    answer = lab.run("kubectl create --dry-run=server -o json -f -", stdin=yaml.safe_dump(pod))
    return dict(json.loads(answer))


def would_be_refused(lab: LabContext, pod: Object) -> str:
    """What the API server says against `pod`; "" when it has nothing."""
    try:
        would_store(lab, pod)
    except CommandFailed as failed:
        return failed.output
    return ""


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
