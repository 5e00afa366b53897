"""Step 5: how soon a changed Secret reaches a process."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from harness import expect
from harness.lab.api import CommandFailed, LabContext
from harness.lab.kit.pods import env_sum, expect_running, file_sum
from labs.lab00_why.encoding import password_of
from labs.lab00_why.lab import why

NUDGE = "lab/nudge"
FOLDER, SINGLE = "/secrets", "/single"
# Kubelet looks after a pod each 60 to 90 seconds (its sync period and half of it at random).
NATURAL_SECONDS = 150
# What the cluster itself keeps are whole seconds.
TOLERANCE = 2
RESTARTED = "kubectl.kubernetes.io/restartedAt"


def present(lab: LabContext) -> str:
    """The SHA-256 of the password that the Secret rotating holds now."""
    return lab.fingerprint(password_of(lab, "rotating"))


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
    now = present(lab)
    return {"places": len(found), "stale": sum(bool(sum_) and sum_ != now for sum_ in found)}


def web_pod(lab: LabContext) -> str:
    """The pod of the Deployment web that runs now, "" when there is none."""
    for found in lab.kube.list("Pod", selector="app=web"):
        phase = (found.get("status") or {}).get("phase")
        if phase == "Running" and "deletionTimestamp" not in found["metadata"]:
            return str(found["metadata"]["name"])
    return ""


def seconds_to_restart(lab: LabContext) -> float:
    """How long the Deployment web had no pod: from the order to restart until one was ready.

    Told by the cluster alone: the order stands in the template, the pod keeps when it was ready.
    """
    workload = lab.kube.get("Deployment", "web") or {"spec": {"template": {"metadata": {}}}}
    order = (workload["spec"]["template"]["metadata"].get("annotations") or {}).get(RESTARTED)
    pod = lab.kube.get("Pod", web_pod(lab)) if web_pod(lab) else None
    ready = [
        datetime.fromisoformat(condition["lastTransitionTime"])
        for condition in ((pod or {}).get("status") or {}).get("conditions") or []
        if condition["type"] == "Ready" and condition["status"] == "True"
    ]
    if not order or not ready:
        return 0.0
    return max((ready[0] - datetime.fromisoformat(order)).total_seconds(), 1.0)


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
    goals=[
        "the container of patient was never restarted",
        "the file in the volume of nudged has the new value",
        "the file in the volume of patient has the new value",
        "the variable of patient is the old value",
        "the subPath of patient is the old value",
        "nobody annotated patient: that time is kubelet's own",
        "the Deployment web was restarted: its variable has the new value",
        "a change of its value is refused: it is immutable",
    ],
    hints=[
        "`kubectl explain pod.spec.containers.volumeMounts` and `kubectl explain secret`. "
        "Kubelet looks after a pod when the pod changes, and otherwise about once a minute.",
        "One file of a volume is mounted by the field that names its path inside the volume. "
        "Any annotation on a pod is a change of the pod.",
        "subPath: password; kubectl annotate; kubectl rollout restart; immutable: true",
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
    lab.sh(r"""
head -c 18 /dev/urandom | base64 | tr -d '\n' |
  kubectl create secret generic rotating --from-file=password=/dev/stdin
for name in patient nudged; do kubectl apply -f - <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $name}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    env:
    - name: PASSWORD
      valueFrom: {secretKeyRef: {name: rotating, key: password}}
    volumeMounts:
    - {name: secret, mountPath: /secrets, readOnly: true}
    - name: secret
      mountPath: /single/password
      subPath: password #? one file of the volume, and no other
  volumes:
  - name: secret
    secret: {secretName: rotating}
EOF
done
kubectl apply -f - <<EOF
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      containers:
      - name: app
        image: $APP_IMAGE
        imagePullPolicy: IfNotPresent
        command: [sleep, infinity]
        env:
        - name: PASSWORD
          valueFrom: {secretKeyRef: {name: rotating, key: password}}
---
apiVersion: v1
kind: Secret
metadata: {name: frozen}
immutable: true #? nobody can change it, not even back
stringData: {password: $(head -c 18 /dev/urandom | base64)}
EOF
kubectl wait --for=condition=Ready pod/patient pod/nudged --timeout=120s
kubectl rollout status deployment/web --timeout=60s
# Kubelet looks at a new pod a few times; let that be over.
sleep 5
""")
    lab.sh(
        r"""
# A new password. One of the pods is changed, too, so that kubelet looks after it.
head -c 18 /dev/urandom | base64 | tr -d '\n' |
  kubectl create secret generic rotating --from-file=password=/dev/stdin \
    --dry-run=client -o yaml | kubectl replace -f -
kubectl annotate pod nudged lab/nudge=now  #?(annotate) what changes a pod without a restart?

new=$(kubectl get secret rotating -o jsonpath='{.data.password}' | base64 -d | sha256sum)
has_new() { [[ $(kubectl exec $1 -- sh -c 'sha256sum < /secrets/password') = "$new" ]]; }
SECONDS=0
until has_new nudged; do sleep 0.5; done
echo "nudged has the new file after $SECONDS seconds"

# Meanwhile: a restart, and two tries to change what is immutable.
kubectl rollout restart deployment/web  #?(restart) a variable changes only with its process
kubectl rollout status deployment/web --timeout=60s
kubectl patch secret frozen --type=merge -p '{"stringData": {"password": "another"}}' || true
kubectl patch secret frozen --type=merge -p '{"immutable": false}' || true

# The other pod is left alone.
until has_new patient || [ $SECONDS -gt 150 ]; do sleep 1; done
echo "patient has the new file after $SECONDS seconds"
echo "the new password, then file, variable and subPath of patient:"
echo "$new"
kubectl exec patient -- sh -c \
  'sha256sum < /secrets/password; printf %s "$PASSWORD" | sha256sum; sha256sum < /single/password'
""",
        timeout=240,
    )


@env_volume_subpath.check
def _(lab: LabContext) -> None:
    expect(lab.kube.get("Secret", "rotating"), "there is a Secret rotating")
    _check_pods(lab)
    _check_restart(lab)
    _check_frozen(lab)


def _check_pods(lab: LabContext) -> None:
    new = present(lab)
    old = ""
    for name in ("nudged", "patient"):
        expect_running(lab, name)
        found = lab.kube.get("Pod", name) or {}
        restarts = found["status"]["containerStatuses"][0]["restartCount"]
        expect(restarts == 0, f"the container of {name} was never restarted", found=restarts)
        found_sums = sums(lab, name)
        # The variable is what the container was started with, and both pods with the same.
        old = old or found_sums["variable"]
        names = {new: "the new value", old: "the old value", "": "nothing"}
        shown = {where: names.get(sum_, "another value") for where, sum_ in found_sums.items()}
        expect(
            found_sums["file"] == new,
            f"the file in the volume of {name} has the new value",
            found=shown,
            hint="wait up to 90 seconds, or annotate the pod nudged",
        )
        expect(
            found_sums["variable"] == old != new,
            f"the variable of {name} is the old value",
            found=shown,
            hint="change the Secret rotating while the pods run",
        )
        expect(found_sums["subPath"] == old, f"the subPath of {name} is the old value", found=shown)
        took = arrival(lab, name)
        expect(
            -TOLERANCE <= took <= NATURAL_SECONDS,
            f"the link ..data of {name} tells when the new file came: after {took:.0f} seconds",
            found=took,
        )
    touched = (lab.kube.get("Pod", "patient") or {})["metadata"].get("annotations") or {}
    expect(NUDGE not in touched, "nobody annotated patient: that time is kubelet's own")


def _check_restart(lab: LabContext) -> None:
    name = web_pod(lab)
    expect(name, "the Deployment web has a pod that runs")
    expect(
        env_sum(lab, name, "PASSWORD") == present(lab) and seconds_to_restart(lab) > 0,
        "the Deployment web was restarted: its variable has the new value",
        hint="kubectl rollout restart deployment/web",
    )


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
