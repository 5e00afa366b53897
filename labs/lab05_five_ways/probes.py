"""The probes: how soon a new pod has its secret, how soon a change arrives, what stays behind.

A probe pod is made of the template of the way's own Deployment: nothing is measured that a
learner has not written. The shop prints `open` when it has its password; the time of that line
is containerd's, the time before the creation this machine's, and both have the same clock.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from harness.lab.api import AuditLog, Entry, LabContext, Object, Secret
from harness.lab.kit.pods import env_sum
from labs.lab05_five_ways.ways import (
    CSI,
    OPERATOR,
    PLAIN,
    WAYS,
    Way,
    holds_the_password,
    identity,
    login_path,
    pod_name,
    pods_of,
    secret_path,
)

# After the shop has opened: a sidecar logs in, too.
SETTLE_SECONDS = 1.5
START_SECONDS, CHANGE_SECONDS = 90.0, 180.0
NUDGE_SECONDS = 2.0

_numbers = itertools.count(1)


@dataclass
class Start:
    """One pod: seconds to its secret, requests to Vault for it, tokens that outlive it."""

    seconds: float
    requests: int
    tokens_left: int


@dataclass
class Change:
    """When a new value was seen after it was stored; None when it never came by itself."""

    file: float | None = None
    process: float | None = None
    nudged: bool = False
    variable_stale: bool = False


@dataclass
class Waiting:
    """What is looked for of one way while a change is on its way."""

    since: float
    old_pod: str
    new_sum: str
    change: Change = field(default_factory=Change)


# -- a pod's start ------------------------------------------------------------------------


def start_pod(lab: LabContext, way: Way) -> Start:
    """Create one pod of the way, wait for its shop to open, count, delete it."""
    name = f"probe-{way.name}-{next(_numbers)}"
    before = shop_tokens(lab)
    log = AuditLog(lab.access.audit_log, lab.audit.mark())
    began = time.time()
    lab.kube.apply(pod_of(template_of(lab, way), name, {"probe": way.name}))
    opened_at = lab.wait_for(
        f"the shop of {name} to open",
        lambda: opened(lab, name),
        timeout=START_SECONDS,
        explain=lambda: lab.kube.explain_pod(name),
    )
    lab.pause(SETTLE_SECONDS, "a sidecar to log in")
    requests = _requests(lab, log, until=opened_at + SETTLE_SECONDS)
    lab.kube.delete("Pod", name)
    lab.wait_for(f"{name} to be gone", lambda: not lab.kube.get("Pod", name))
    left = shop_tokens(lab) - before
    return Start(round(opened_at - began, 2), requests, len(left))


def template_of(lab: LabContext, way: Way) -> Object:
    """The pod template of a way's Deployment."""
    found: Object = (lab.kube.get("Deployment", way.name) or {})["spec"]["template"]
    return found


def pod_of(
    template: Object, name: str, labels: dict[str, str], more: dict[str, str] | None = None
) -> Object:
    """A pod of a template; `more` annotations are for templates that have some."""
    annotations = template["metadata"].get("annotations") or {}
    metadata = {
        "name": name,
        "labels": labels,
        "annotations": {**annotations, **(more or {})} if annotations else {},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def opened(lab: LabContext, name: str) -> float:
    """When the shop said that it has its password; 0 before."""
    status = (lab.kube.get("Pod", name) or {}).get("status") or {}
    shop = [one for one in status.get("containerStatuses") or [] if one["name"] == "shop"]
    if not shop or not (shop[0].get("state") or {}).get("running"):
        return 0.0
    for line in lab.run(f"kubectl logs {name} -c shop --timestamps").splitlines():
        stamp, _, said = line.partition(" ")
        if said == "open":
            return moment(stamp)
    return 0.0


def moment(stamp: str) -> float:
    """Seconds since 1970 of a time as Go writes it, with nanoseconds."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    parsed = datetime.fromisoformat(f"{whole}+00:00").timestamp()
    return parsed + float(f"0.{fraction[:9] or 0}")


def _requests(lab: LabContext, log: AuditLog, until: float) -> int:
    """How many requests Vault answered for accounts that logged in at the pod's start."""
    entries = [entry for entry in log if entry["type"] == "response" and not entry.get("error")]
    new = {
        accessor_of(entry)
        for entry in entries
        if entry["request"]["path"] == login_path(lab) and identity(entry)
    }
    return sum(1 for one in entries if accessor_of(one) in new and moment(one["time"]) <= until)


def accessor_of(entry: Entry) -> str:
    """The accessor of the token that an entry is about; "" without one."""
    return str((entry.get("auth") or {}).get("accessor", ""))


def shop_tokens(lab: LabContext) -> set[str]:
    """The accessors of the Vault tokens of this lab's service accounts that are alive."""
    found = lab.http.list("/v1/auth/token/accessors", allow={404}).json()
    alive = set()
    for accessor in (found.get("data") or {}).get("keys") or []:
        answer = lab.http.post(
            "/v1/auth/token/lookup-accessor", json={"accessor": accessor}, allow={400, 403, 404}
        )
        data = answer.json().get("data") or {} if answer.status_code == 200 else {}
        if data.get("path") == login_path(lab):
            alive.add(str(accessor))
    return alive


# -- a change -----------------------------------------------------------------------------


def change_all(lab: LabContext, nudge: bool) -> dict[str, Change]:
    """Store a new password for every way at once, and see when it arrives where.

    With `nudge` the pods that wait for kubelet's next look (60 to 90 seconds) are annotated,
    which makes kubelet look at once.
    """
    waiting = store_all(lab)
    wait_for_all(lab, waiting, nudge)
    for way in WAYS:
        one = waiting[way.name]
        if way.variable and pod_name(lab, way) == one.old_pod:
            seen = env_sum(lab, one.old_pod, way.variable)
            one.change.variable_stale = seen != one.new_sum
    return {name: one.change for name, one in waiting.items()}


def store_all(lab: LabContext) -> dict[str, Waiting]:
    """Store a new password for every way."""
    return {way.name: _store(lab, way) for way in WAYS}


def look_at_all(lab: LabContext, waiting: dict[str, Waiting]) -> None:
    """Note which of the new passwords have arrived by now."""
    for way in WAYS:
        _look(lab, way, waiting[way.name])


def wait_for_all(
    lab: LabContext,
    waiting: dict[str, Waiting],
    nudge: bool,
    also: Callable[[], bool] = lambda: True,
) -> None:
    """Wait until the new passwords have arrived, and note when each did; and until `also`."""
    nudged_at = 0.0

    def arrived() -> bool:
        nonlocal nudged_at
        if nudge and time.time() - nudged_at > NUDGE_SECONDS:
            nudged_at = time.time()
            for way in (PLAIN, CSI):
                if waiting[way.name].change.file is None:
                    waiting[way.name].change.nudged = True
                    _nudge(lab, waiting[way.name].old_pod)
        looks = [_look(lab, way, waiting[way.name]) for way in WAYS]
        return all([*looks, also()])

    lab.wait_for("the new passwords to arrive", arrived, timeout=CHANGE_SECONDS, every=0.5)


def _store(lab: LabContext, way: Way) -> Waiting:
    value = Secret(secrets.token_urlsafe(18))
    waiting = Waiting(time.time(), pod_name(lab, way), lab.fingerprint(value))
    if way.in_vault:
        lab.http.post(f"/v1/{secret_path(lab, way)}", json={"data": {"password": value}})
    else:
        manifest: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": way.name},
            "stringData": {"password": str(value)},
        }
        lab.kube.apply(manifest)
    return waiting


def _nudge(lab: LabContext, pod: str) -> None:
    lab.run(f"kubectl annotate pod {pod} --overwrite lab/nudge={next(_numbers)}")


def _look(lab: LabContext, way: Way, one: Waiting) -> bool:
    """Note what has arrived since the last look; whether all has."""
    if one.change.file is None:
        pod = pod_name(lab, way) if way is OPERATOR else one.old_pod
        if pod and holds_the_password(lab, way, one.new_sum, pod):
            one.change.file = round(time.time() - one.since, 1)
    if way is not OPERATOR:
        return one.change.file is not None
    if one.change.process is None:
        new = [pod["metadata"]["name"] for pod in pods_of(lab, way)]
        for pod in new:
            if pod != one.old_pod and env_sum(lab, pod, way.variable) == one.new_sum:
                one.change.process = round(time.time() - one.since, 1)
    return one.change.file is not None and one.change.process is not None
