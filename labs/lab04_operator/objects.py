"""What the steps of lab 04 look at: custom resources, the Secrets made of them, workloads.

Reads never raise for what is not there: they return {} or "", so that a check can say what
is missing. Values of Secrets stay inside; compare them by `lab.fingerprint`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.lab.api import LabContext, Object, Secret
from harness.lab.kit.operator import API, MANAGER, NAMESPACE, rolled_out

__all__ = ["API", "MANAGER", "NAMESPACE", "rolled_out"]

KINDS = ("VaultStaticSecret", "VaultDynamicSecret", "VaultPKISecret")
SYNC_SECONDS = 60.0
# Where the operator writes when it restarted a workload, as `kubectl rollout restart` does.
RESTARTED_AT = "vso.secrets.hashicorp.com/restartedAt"


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


def custom(lab: LabContext, kind: str, name: str, namespace: str = "") -> Object:
    """A custom resource of the operator; {} when there is none."""
    with lab.quiet():
        return lab.kube.get(kind, name, namespace, API) or {}


def status(lab: LabContext, kind: str, name: str, namespace: str = "") -> Object:
    """What the operator says about it; {} when it has said nothing."""
    return dict(custom(lab, kind, name, namespace).get("status") or {})


def condition(lab: LabContext, kind: str, name: str, wanted: str, namespace: str = "") -> Object:
    """One condition of a custom resource; {} when it has none of this type."""
    found = status(lab, kind, name, namespace).get("conditions") or []
    return next((dict(entry) for entry in found if entry["type"] == wanted), {})


def is_synced(lab: LabContext, kind: str, name: str, namespace: str = "") -> bool:
    """Whether the operator has carried out its present spec, and is content.

    `Healthy`, not `SecretSynced`: that one tells of the last write, and after an outage in
    which nothing changed there is none. With its finalizer, which comes after the first sync:
    upstream writes the whole resource then, defaults filled in, and syncs that once more.
    """
    found = custom(lab, kind, name, namespace)
    state = found.get("status") or {}
    healthy = [c["status"] for c in state.get("conditions") or [] if c["type"] == "Healthy"]
    return bool(
        found
        and found["metadata"].get("finalizers")
        and state.get("lastGeneration") == found["metadata"]["generation"]
        and healthy == ["True"]
    )


def wait_synced(lab: LabContext, kind: str, name: str, namespace: str = "") -> None:
    """Wait until the custom resource is synced; the failure tells its events."""
    lab.wait_for(
        f"{kind} {namespace or lab.namespace}/{name} to be synced",
        lambda: is_synced(lab, kind, name, namespace),
        timeout=SYNC_SECONDS,
        explain=lambda: "\n".join(lab.kube.events(name, namespace)[-6:]) or "no events",
        hint=f"kubectl -n {namespace or lab.namespace} describe {kind.lower()} {name}",
    )


def wait_valid(lab: LabContext, kind: str, name: str) -> None:
    """Wait until the operator has found a connection or an auth valid."""
    lab.wait_for(
        f"the operator to find {kind} {name} valid",
        lambda: status(lab, kind, name).get("valid") is True,
        timeout=SYNC_SECONDS,
        explain=lambda: "\n".join(lab.kube.events(name)[-6:]) or "no events",
        hint=f"kubectl -n {lab.namespace} describe {kind.lower()} {name}",
    )


def secret(lab: LabContext, name: str, namespace: str = "") -> Object:
    """A Kubernetes Secret as it is stored; {} when there is none."""
    with lab.quiet():
        return lab.kube.get("Secret", name, namespace) or {}


def values(lab: LabContext, name: str, namespace: str = "") -> dict[str, str]:
    """The decoded values of a Kubernetes Secret, kept out of output; {} when there is none."""
    data = secret(lab, name, namespace).get("data") or {}
    decoded = {key: base64.b64decode(value).decode() for key, value in data.items()}
    # What is short and no secret (a user name) must not be masked everywhere.
    return {key: Secret(v) if "password" in key.lower() else v for key, v in decoded.items()}


def encoded(data: Mapping[str, str]) -> dict[str, str]:
    """`data` as a Secret's manifest wants it: base64, which is no protection."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


def plain_secret(lab: LabContext, name: str, data: Mapping[str, str], **metadata: Any) -> Any:
    """A Secret that somebody made by hand."""
    namespace = metadata.pop("namespace", "") or lab.namespace
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": encoded(data),
    }


def kv(lab: LabContext, path: str) -> dict[str, str]:
    """The present version of a KV v2 secret of this lab; {} when there is none."""
    address = f"/v1/{lab.path('kv', 'data', path)}"
    with lab.quiet():
        answer = lab.http.get(address, allow={403, 404}).json()
    return dict((answer.get("data") or {}).get("data") or {})


def same(lab: LabContext, name: str, expected: str, key: str = "password") -> bool:
    """Whether the Secret `name` holds the value `expected`, compared by fingerprint."""
    found = values(lab, name).get(key)
    return found is not None and lab.fingerprint(found) == lab.fingerprint(expected)


def wait_value(lab: LabContext, name: str, expected: str, key: str = "password") -> None:
    """Wait until the Secret `name` holds `expected`."""
    lab.wait_for(
        f"Secret {name} to hold the new {key}",
        lambda: same(lab, name, expected, key),
        timeout=SYNC_SECONDS,
        explain=lambda: "\n".join(lab.kube.events(name)[-6:]) or "no events",
        hint=f"kubectl -n {lab.namespace} get events",
    )


def complaint(lab: LabContext, kind: str, name: str, reason: str, namespace: str = "") -> str:
    """The newest event of this reason about this very object; "" when there is none.

    By uid: events outlive their object, and an earlier one of the same name.
    """
    uid = (custom(lab, kind, name, namespace).get("metadata") or {}).get("uid")
    events = lab.kube.list("Event", namespace, api_version="v1")
    texts = [
        (event.get("lastTimestamp") or "", event["message"])
        for event in events
        if event["involvedObject"].get("uid") == uid and event.get("reason") == reason
    ]
    return max(texts)[1] if texts and uid else ""


def refused(lab: LabContext, manifest: str | Object, reason: str, namespace: str = "") -> str:
    """Apply one custom resource that must be refused; take it away; return what was said."""
    (made,) = lab.kube.apply(manifest)
    kind, name = made["kind"], made["metadata"]["name"]
    try:
        return lab.wait_for(
            f"the operator to refuse {kind} {name} with a {reason} event",
            lambda: complaint(lab, kind, name, reason, namespace),
            timeout=SYNC_SECONDS,
            explain=lambda: "\n".join(lab.kube.events(name, namespace)[-6:]) or "no events",
        )
    finally:
        remove(lab, kind, name, namespace)


def remove(lab: LabContext, kind: str, name: str, namespace: str = "") -> None:
    """Delete a custom resource and wait until its finalizer has let it go."""
    lab.kube.delete(kind, name, namespace, API)
    lab.wait_for(
        f"{kind} {name} to be gone",
        lambda: not custom(lab, kind, name, namespace),
        timeout=SYNC_SECONDS,
        hint="its finalizer is the operator's: is the operator running?",
    )


def is_rolled_out(found: Object) -> bool:
    """Whether all pods of a workload are of its present version; a DaemonSet counts by node."""
    if not found or found["kind"] != "DaemonSet":
        return rolled_out(found)
    status = found.get("status") or {}
    wanted = status.get("desiredNumberScheduled", 0)
    return bool(
        wanted > 0
        and status.get("observedGeneration") == found["metadata"]["generation"]
        and status.get("updatedNumberScheduled") == wanted
        and status.get("numberAvailable") == wanted
    )


def restarted_at(workload: Object) -> str:
    """When the operator restarted this workload; "" when it never did."""
    metadata = (workload.get("spec") or {}).get("template", {}).get("metadata", {})
    return str((metadata.get("annotations") or {}).get(RESTARTED_AT, ""))


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


def manager_pod(lab: LabContext) -> Object:
    """The operator's running pod; {} while there is none."""
    with lab.quiet():
        pods = lab.kube.list("Pod", NAMESPACE, "control-plane=controller-manager")
    running = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return running[0] if len(running) == 1 else {}


def reads_of(entries: Iterable[Object], path: str) -> set[str]:
    """Who read `path`, as `namespace/account`, by these entries of an audit log."""
    found = set()
    for entry in entries:
        request = entry.get("request") or {}
        who = (entry.get("auth") or {}).get("metadata") or {}
        if entry.get("type") == "response" and request.get("path") == path and who:
            account = who.get("service_account_name") or who.get("role") or ""
            found.add(f"{who.get('service_account_namespace', '')}/{account}")
    return found
