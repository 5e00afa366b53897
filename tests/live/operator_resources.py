"""What the live tests of lab 04's operator apply and wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.lab.api import LabContext, Object
from labs.lab04_operator.objects import API, is_rolled_out, is_synced, same

SYNC_SECONDS = 60.0


def static_secret(
    lab: LabContext, name: str, path: str = "shop/app", *, namespace: str = "", **spec: Any
) -> Object:
    """A VaultStaticSecret like the one of step 2, for a Secret of the same name.

    `spec` are the fields that are different, or more.
    """
    return {
        "apiVersion": API,
        "kind": "VaultStaticSecret",
        "metadata": {"name": name, "namespace": namespace or lab.namespace},
        "spec": {
            "vaultAuthRef": "shop",
            "type": "kv-v2",
            "mount": lab.path("kv"),
            "path": path,
            "refreshAfter": "5s",
            "destination": {"name": name, "create": True},
            **spec,
        },
    }


def wait_synced(lab: LabContext, kind: str, name: str, namespace: str = "") -> None:
    """Wait until the custom resource is synced; the failure tells its events."""
    lab.wait_for(
        f"{kind} {namespace or lab.namespace}/{name} to be synced",
        lambda: is_synced(lab, kind, name, namespace),
        timeout=SYNC_SECONDS,
        explain=lambda: "\n".join(lab.kube.events(name, namespace)[-6:]) or "no events",
        hint=f"kubectl -n {namespace or lab.namespace} describe {kind.lower()} {name}",
    )


def wait_value(lab: LabContext, name: str, expected: str, key: str = "password") -> None:
    """Wait until the Secret `name` holds `expected`."""
    lab.wait_for(
        f"Secret {name} to hold the new {key}",
        lambda: same(lab, name, expected, key),
        timeout=SYNC_SECONDS,
        explain=lambda: "\n".join(lab.kube.events(name)[-6:]) or "no events",
        hint=f"kubectl -n {lab.namespace} get events",
    )


def wait_rollout(
    lab: LabContext,
    name: str,
    kind: str = "Deployment",
    also: Callable[[], bool] = lambda: True,
) -> None:
    """Wait until all pods of a workload are of its present version, and `also` holds."""
    with lab.quiet():
        lab.wait_for(
            f"{kind} {name} to be rolled out",
            lambda: is_rolled_out(lab.kube.get(kind, name) or {}) and also(),
            timeout=120,
            explain=lambda: explain_pods(lab, name),
            hint=f"kubectl -n {lab.namespace} rollout status {kind.lower()} {name}",
        )


def explain_pods(lab: LabContext, app: str) -> str:
    """Events and last log lines of a workload's pods."""
    pods = lab.kube.list("Pod", selector=f"app={app}")
    lines = [lab.kube.explain_pod(pod["metadata"]["name"]) for pod in pods]
    return "\n".join(lines) or f"no pod of {app}"
