"""What the steps of lab 04 look at: custom resources, the Secrets made of them, workloads.

Reads never raise for what is not there: they return {} or "", so that a check can say what
is missing. Values of Secrets stay inside; compare them by `lab.fingerprint`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping

from harness.lab.api import GaveUp, LabContext, Object, Secret
from harness.lab.kit.operator import API, MANAGER, NAMESPACE, rolled_out

__all__ = ["API", "MANAGER", "NAMESPACE", "rolled_out"]

SOON_SECONDS = 10.0
# Where the operator writes when it restarted a workload, as `kubectl rollout restart` does.
RESTARTED_AT = "vso.secrets.hashicorp.com/restartedAt"


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


def is_valid(lab: LabContext, kind: str, name: str) -> bool:
    """Whether the operator has found a connection, an auth or a transformation valid."""
    return soon(lab, lambda: status(lab, kind, name).get("valid") is True)


def soon(lab: LabContext, holds: Callable[[], object]) -> bool:
    """Whether something holds within a few seconds: a check may come right behind a command."""
    try:
        lab.wait_for("what the check asks for", lambda: bool(holds()), timeout=SOON_SECONDS)
    except GaveUp:
        return False
    return True


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


def kv(lab: LabContext, path: str, version: int = 0) -> dict[str, str]:
    """A version of a KV v2 secret of this lab, the present one for 0; {} when there is none."""
    address = f"/v1/{lab.path('kv', 'data', path)}?version={version}"
    with lab.quiet():
        answer = lab.http.get(address, allow={403, 404}).json()
    return dict((answer.get("data") or {}).get("data") or {})


def same(lab: LabContext, name: str, expected: str, key: str = "password") -> bool:
    """Whether the Secret `name` holds the value `expected`, compared by fingerprint."""
    found = values(lab, name).get(key)
    return found is not None and lab.fingerprint(found) == lab.fingerprint(expected)


def events_of(lab: LabContext, kind: str, name: str, namespace: str = "") -> list[Object]:
    """The events about this very object, oldest first.

    By uid: events outlive their object, and an earlier one of the same name.
    """
    uid = (custom(lab, kind, name, namespace).get("metadata") or {}).get("uid")
    with lab.quiet():
        events = lab.kube.list("Event", namespace, api_version="v1") if uid else []
    own = [event for event in events if event["involvedObject"].get("uid") == uid]
    return sorted(own, key=lambda event: event.get("lastTimestamp") or "")


def complaint(lab: LabContext, kind: str, name: str, reason: str, namespace: str = "") -> str:
    """The newest event of this reason about this very object; "" when there is none."""
    events = events_of(lab, kind, name, namespace)
    return next((str(e["message"]) for e in reversed(events) if e.get("reason") == reason), "")


def writes_of(lab: LabContext, kind: str, name: str) -> int:
    """How often the operator has written the Secret of this object, by its events."""
    written = ("SecretSynced", "SecretRotated")
    events = [e for e in events_of(lab, kind, name) if e.get("reason") in written]
    return sum(int(event.get("count") or 1) for event in events)


def written_at(found: Object) -> str:
    """When the data of a Secret was last written, as Kubernetes notes it; "" when never."""
    times = [
        str(entry.get("time", ""))
        for entry in (found.get("metadata") or {}).get("managedFields") or []
        if "f:data" in (entry.get("fieldsV1") or {})
    ]
    return max(times, default="")


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
