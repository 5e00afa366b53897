"""Step 5: how soon a changed Secret reaches a process."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

from harness import expect
from harness.lab.api import CommandFailed, LabContext
from harness.lab.kit.pods import env_sum, expect_running, file_sum, from_secret
from labs.lab00_why.encoding import decoded, secret_manifest
from labs.lab00_why.lab import why
from labs.lab00_why.pods import FOLDER, SINGLE, deployment, make_pod

NUDGE = "lab/nudge"
ROTATING_PASSWORD = from_secret("PASSWORD", "rotating", "password")
# So long after its start a pod has seen the last look that belongs to the start.
SETTLED_SECONDS = 5
# Kubelet looks after a pod each 60 to 90 seconds (its sync period and half of it at random).
NATURAL_SECONDS = 150
# What the cluster itself keeps are whole seconds.
TOLERANCE = 2


def write_version(lab: LabContext, number: int) -> None:
    """Write version `number` of the password into the Secret rotating."""
    value = lab.secret(f"rotating-{number}")
    lab.kube.apply(secret_manifest(lab, "rotating", password=value))


def holder(lab: LabContext, name: str) -> Any:
    """A pod that has the password three times: a variable, a volume, a file by subPath."""
    return make_pod(lab, name, env=[ROTATING_PASSWORD], volume="rotating", single=True)


def has_new_file(lab: LabContext, name: str) -> bool:
    """Whether the file of the volume is the second version."""
    new = lab.fingerprint(lab.secret("rotating-2"))
    return file_sum(lab, name, f"{FOLDER}/password") == new


def sums(lab: LabContext, name: str) -> dict[str, str]:
    """The SHA-256 of the password in each of the three places of a pod."""
    return {
        "file": file_sum(lab, name, f"{FOLDER}/password"),
        "variable": env_sum(lab, name, "PASSWORD"),
        "subPath": file_sum(lab, name, f"{SINGLE}/password"),
    }


def stale(lab: LabContext) -> dict[str, int]:
    """How many places the two pods have the password in, and how many hold the old one."""
    found = [sum_ for name in ("patient", "nudged") for sum_ in sums(lab, name).values()]
    return {"places": len(found), "stale": found.count(lab.fingerprint(lab.secret("rotating-1")))}


def web_pod(lab: LabContext) -> str:
    """The pod of the Deployment web that runs now, "" when there is none."""
    for found in lab.kube.list("Pod", selector="app=web"):
        phase = (found.get("status") or {}).get("phase")
        if phase == "Running" and "deletionTimestamp" not in found["metadata"]:
            return str(found["metadata"]["name"])
    return ""


def ready_seconds(lab: LabContext, name: str) -> float:
    """For how many seconds a pod has been ready; 0 when it is not."""
    status = (lab.kube.get("Pod", name) or {}).get("status") or {}
    for condition in status.get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] == "True":
            since = datetime.fromisoformat(condition["lastTransitionTime"])
            return (datetime.now(UTC) - since).total_seconds()
    return 0


def wait_until_settled(lab: LabContext, name: str) -> None:
    """Wait until a pod is ready, and has been for so long that kubelet has turned away."""
    # Kubelet may still be on its way back to an API server that was restarted.
    lab.kube.wait_for_pod(name, timeout=120)
    lab.wait_for(f"pod {name} to have settled", lambda: ready_seconds(lab, name) >= SETTLED_SECONDS)


def seconds_to_restart(lab: LabContext) -> float:
    """Restart the Deployment web; the seconds until its new pod is ready."""
    started = time.monotonic()
    rollout = f"kubectl -n {lab.namespace} rollout"
    lab.run(f"{rollout} restart deployment web")
    lab.run(f"{rollout} status deployment web --timeout=60s", timeout=70)
    return round(time.monotonic() - started, 1)


def patched(lab: LabContext, **change: Any) -> str:
    """What the API server says to a change of the Secret frozen; nothing is stored."""
    patch = f"kubectl -n {lab.namespace} patch secret frozen --dry-run=server --type=merge"
    try:
        return lab.run(f"{patch} -p '{json.dumps(change)}'")
    except CommandFailed as refused:
        return refused.output.strip()


def arrival(lab: LabContext, name: str) -> float:
    """How many seconds after the last change of the Secret the pod's volume was written.

    Told by the cluster alone: kubelet writes a new folder and turns the link `..data` to it;
    the API server keeps when each field of an object was last written, in whole seconds.
    """
    secret = lab.kube.get("Secret", "rotating") or {"metadata": {}}
    times = [
        datetime.fromisoformat(entry["time"]).timestamp()
        for entry in secret["metadata"].get("managedFields") or []
    ]
    turned = lab.kube.exec(name, f"stat -c %Y {FOLDER}/..data 2>/dev/null || echo 0")
    return float(turned) - max(times, default=0.0)


@why.step(
    "Change it, and wait",
    minutes=4,
    hints=[
        "Make the pods first, change the Secret when they run, then look into them. Three places "
        "in a pod: a variable, a volume at /secrets, one file by subPath as /single/password.",
        "`write_version(lab, 1)`; the pods patient and nudged by `holder(lab, name)`; the "
        "Deployment web with `env=[ROTATING_PASSWORD]`. Then `write_version(lab, 2)`; annotate "
        "nudged with lab/nudge; wait for `has_new_file(lab, name)` of both.",
        "The Secret frozen has `immutable: true`. Keep in `lab.notes['freshness']` the seconds: "
        "volume (of patient), nudged and restart (`seconds_to_restart(lab)`), and `stale(lab)`.",
    ],
)
def env_volume_subpath(lab: LabContext) -> None:
    """
    A password is changed because somebody left, or because it leaked. How long until the
    running processes have the new one?

    | where a pod has it | when it changes |
    |---|---|
    | a **volume** | when kubelet next looks after the pod: every 60 to 90 seconds |
    | an **environment variable** | never: a process gets its variables when it starts |
    | one file of it, by **subPath** | never: that mount is bound to the file of the start |

    The file changes for sure only for a process that reads it again. For the other two
    somebody has to restart the pod; Kubernetes does not do it, and does not say which pods
    would need it. What that costs is measured with a Deployment that may run only once: the
    seconds without a pod, at their best, as this program is ready at once and has nothing
    in memory to lose.

    Kubelet also looks after a pod whenever the *pod* changes. So an annotation on the pod
    brings the new file at once. One of our two pods gets one, the other waits its time; the
    minute that this step takes is that wait.

    An **immutable** Secret cannot be changed at all, by nobody, and not be made mutable
    again: a new password is a new Secret with a new name, and a new version of each pod.
    """
    write_version(lab, 1)
    lab.kube.apply(holder(lab, "patient"))
    lab.kube.apply(holder(lab, "nudged"))
    lab.kube.apply(deployment(lab, "web", env=[ROTATING_PASSWORD]))
    frozen = secret_manifest(lab, "frozen", password=lab.secret("rotating-1"))
    lab.kube.apply(frozen + "immutable: true\n")
    wait_until_settled(lab, "patient")
    wait_until_settled(lab, "nudged")

    write_version(lab, 2)
    changed = time.monotonic()

    # One pod is changed, too, so that kubelet looks after it.
    lab.run(f"kubectl -n {lab.namespace} annotate pod nudged {NUDGE}=now")
    lab.wait_for("the file of nudged to change", lambda: has_new_file(lab, "nudged"))
    seconds = {"nudged": round(time.monotonic() - changed, 1)}

    # Meanwhile: a restart, and two tries to change what is immutable.
    seconds["restart"] = seconds_to_restart(lab)
    print(patched(lab, stringData={"password": "another"}))
    print(patched(lab, immutable=False))

    # The other pod is left alone.
    lab.wait_for(
        "the file of patient to change",
        lambda: has_new_file(lab, "patient"),
        timeout=NATURAL_SECONDS,
        every=0.5,
    )
    seconds["volume"] = arrival(lab, "patient")
    lab.notes["freshness"] = {**seconds, **stale(lab)}
    for what, value in seconds.items():
        print(f"{what:8} {value} seconds")


@env_volume_subpath.check
def _(lab: LabContext) -> None:
    secret = lab.kube.get("Secret", "rotating")
    expect(
        lab.fingerprint(decoded(secret)) == lab.fingerprint(lab.secret("rotating-2")),
        "the Secret rotating has its second version",
        found="another value" if secret else "no such Secret",
    )
    _check_pods(lab)
    _check_restart(lab)
    _check_frozen(lab)


def _check_pods(lab: LabContext) -> None:
    old, new = (lab.fingerprint(lab.secret(f"rotating-{number}")) for number in (1, 2))
    names = {old: "the old value", new: "the new value", "": "nothing"}
    noted = lab.notes.get("freshness", {})
    for name, note in (("nudged", "nudged"), ("patient", "volume")):
        expect_running(lab, name)
        found = lab.kube.get("Pod", name) or {}
        restarts = found["status"]["containerStatuses"][0]["restartCount"]
        expect(restarts == 0, f"the container of {name} was never restarted", found=restarts)
        found_sums = sums(lab, name)
        shown = {where: names.get(sum_, "another value") for where, sum_ in found_sums.items()}
        expect(
            found_sums["file"] == new,
            f"the file in the volume of {name} has the new value",
            found=shown,
            hint="wait up to 90 seconds, or annotate the pod nudged",
        )
        expect(
            found_sums["variable"] == old, f"the variable of {name} is the old value", found=shown
        )
        expect(found_sums["subPath"] == old, f"the subPath of {name} is the old value", found=shown)
        took = arrival(lab, name)
        expect(
            abs(took - noted.get(note, -100)) <= TOLERANCE,
            f"how long the new file took to reach {name} was noted",
            found={"noted": noted, "told by the link ..data": took},
            hint="lab.notes['freshness'] = {'volume': s, 'nudged': s, 'restart': s, **stale(lab)}",
        )
    counted = {key: noted.get(key) for key in ("places", "stale")}
    expect(counted == stale(lab), "how many places are stale was noted: four of six", found=counted)
    touched = (lab.kube.get("Pod", "patient") or {})["metadata"].get("annotations") or {}
    expect(NUDGE not in touched, "nobody annotated patient: that time is kubelet's own")


def _check_restart(lab: LabContext) -> None:
    name = web_pod(lab)
    expect(name, "the Deployment web has a pod that runs")
    expect(
        env_sum(lab, name, "PASSWORD") == lab.fingerprint(lab.secret("rotating-2")),
        "its variable has the new value: it was restarted",
        hint=f"kubectl -n {lab.namespace} rollout restart deployment web",
    )
    noted = lab.notes.get("freshness", {}).get("restart", 0)
    expect(noted > 0, "what the restart cost was noted, in seconds", found=noted)


def _check_frozen(lab: LabContext) -> None:
    expect(lab.kube.get("Secret", "frozen"), "there is a Secret frozen")
    refused = patched(lab, stringData={"password": "another"})
    expect(
        "data: Forbidden: field is immutable when `immutable` is set" in refused,
        "a change of its value is refused: it is immutable",
        found=refused,
    )
    refused = patched(lab, immutable=False)
    expect(
        "immutable: Forbidden: field is immutable when `immutable` is set" in refused,
        "and it cannot be made mutable again",
        found=refused,
    )
