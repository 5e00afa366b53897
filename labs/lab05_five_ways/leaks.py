"""Step 8: where the secret lies: every value is looked for in every place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import expect
from harness.lab.api import LabContext, Secret
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.pictures import draw_leaks
from labs.lab05_five_ways.results import drop, keep, load, print_table
from labs.lab05_five_ways.search import PLACES, find_everywhere
from labs.lab05_five_ways.ways import WAYS, secret_path, secret_value

CONTROL = "control"
# What the control's manifest holds: no secret, and nowhere else on this machine.
CONTROL_VALUE = "this-value-must-be-found"
IN_A_SECRET = {"plain", "operator"}


def values(lab: LabContext) -> dict[str, str]:
    """The value of each way as it is now, and that of the control."""
    found = {}
    for way in WAYS:
        if way.in_vault:
            answer = lab.http.get(f"/v1/{secret_path(lab, way)}").json()
            found[way.name] = Secret(answer["data"]["data"]["password"])
        else:
            found[way.name] = Secret(secret_value(lab, way.name))
    return {**found, CONTROL: CONTROL_VALUE}


def show_map(found: dict[str, Any]) -> None:
    """Print the map as a table."""
    rows = [
        (title, ["found" if found[way.name][place] else "-" for way in WAYS])
        for place, title in PLACES.items()
    ]
    print_table(rows)
    seen = sum(found[CONTROL].values())
    print(f"the control was found in {seen} of {len(PLACES)} places")


def draw_map(found: dict[str, Any], file: Path) -> Path:
    """The map as a picture: red where a password was found."""
    return draw_leaks(PLACES, found, file)


@five_ways.step(
    "Where the secret lies",
    minutes=3,
    goals=[
        "the control is found in every place: a place where nothing is found was looked into",
        "etcd's files hold the password where there is a Kubernetes Secret, and only there",
        "kubectl get -o yaml shows it where there is a Kubernetes Secret, and only there",
        "the environment of a process holds it where a variable was asked for, and only there",
        "a variable is on the node's disk, too: the container runtime keeps it there",
        "memory volumes hold it in all five ways",
        "no log, no event and no command line holds it",
        "Vault's audit log holds none of the passwords",
    ],
    hints=[
        "The pod control must run: its value is planted in every place.",
        "`find_everywhere(lab, values(lab))` looks for all values in all places.",
        "`./lab solve 05.8` plants the control and looks.",
    ],
)
def map_the_leaks(lab: LabContext) -> None:
    """
    Each way has a password of its own, so we can look for it: in etcd's files, in all that
    `kubectl get -o yaml` shows, in the environment and the arguments of every process, in
    memory volumes, on the node's disk, in events, in the logs of every part, in Vault's audit
    log. Where the value is found, its way has brought it there.

    A search that finds nothing proves nothing, unless it could have found something. That is
    what the **control** is for: a value that is no secret, planted in each of the places.

    The first way's process still has the old password in its variable, so it is restarted
    first. And look at the node's disk: who asks for a variable finds the value there, because
    the container runtime keeps each container's variables in its database.
    """
    lab.sh("""
kubectl rollout restart deployment/plain
kubectl rollout status deployment/plain --timeout=60s
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: ConfigMap
metadata: {name: control}
data: {value: this-value-must-be-found}
---
apiVersion: v1
kind: Event
metadata: {name: control}
involvedObject: {kind: ConfigMap, name: control, namespace: $NAMESPACE}
reason: Control
message: this-value-must-be-found
type: Normal
---
apiVersion: v1
kind: Pod
metadata: {name: control}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 1000}
  containers:
  - name: control
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    env:
    - name: VALUE
      valueFrom:
        configMapKeyRef: {name: control, key: value}
    command: [sh, -c, "echo $VALUE | tee /disk/value /memory/value; sleep infinity", $(VALUE)]
    volumeMounts:
    - {name: disk, mountPath: /disk}
    - {name: memory, mountPath: /memory}
  volumes:
  - {name: disk, emptyDir: {}}
  - name: memory
    emptyDir: {medium: Memory, sizeLimit: 1Mi}  #?(Memory) the medium that is no disk
""")
    lab.sh("kubectl wait pod/control --for=condition=Ready --timeout=60s")
    lab.sh("vault kv get $NAMESPACE-kv/shop/this-value-must-be-found", fails=True)
    with lab.quiet():
        found = find_everywhere(lab, values(lab))
    keep(lab, leaks=found)
    show_map(found)
    lab.show(draw_map(found, lab.folder / "leaks.png"))


@map_the_leaks.check
def _(lab: LabContext) -> None:
    found = load(lab).get("leaks") or {}
    control = found.get(CONTROL) or {}
    expect(
        set(control) == set(PLACES) and all(control.values()),
        "the control is found in every place: a place where nothing is found was looked into",
        found=[place for place in PLACES if not control.get(place)],
    )
    missing = [way.name for way in WAYS if set(found.get(way.name) or {}) != set(PLACES)]
    expect(not missing, "each way has an answer for each place", found=missing)
    everybody = {way.name for way in WAYS}
    for place, wanted, sentence in (
        (
            "etcd",
            IN_A_SECRET,
            "etcd's files hold the password where there is a Kubernetes Secret, and only there",
        ),
        (
            "objects",
            IN_A_SECRET,
            "kubectl get -o yaml shows it where there is a Kubernetes Secret, and only there",
        ),
        (
            "environment",
            {way.name for way in WAYS if way.variable},
            "the environment of a process holds it where a variable was asked for, and only there",
        ),
        ("memory", everybody, "memory volumes hold it in all five ways"),
        (
            "disk",
            {way.name for way in WAYS if way.variable},
            "a variable is on the node's disk, too: the container runtime keeps it there",
        ),
        ("audit", set(), "Vault's audit log holds none of the passwords"),
    ):
        seen = {way.name for way in WAYS if found[way.name][place]}
        expect(seen == wanted, sentence, found=sorted(seen))
    seen = {
        f"{way.name} in {place}"
        for way in WAYS
        for place in ("logs", "events", "arguments")
        if found[way.name][place]
    }
    expect(not seen, "no log, no event and no command line holds it", found=sorted(seen))


@map_the_leaks.undo
def _(lab: LabContext) -> None:
    drop(lab, "leaks")
