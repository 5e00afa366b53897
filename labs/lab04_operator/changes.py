"""Step 5: a secret changes in Vault, and the pods that use it are replaced without a gap."""

from __future__ import annotations

import datetime

from harness import expect
from harness.lab.api import LabContext, Object
from harness.lab.kit.pods import from_secret
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    condition,
    custom,
    is_rolled_out,
    restarted_at,
    same,
    static_secret,
    wait_rollout,
    wait_synced,
    wait_value,
)
from labs.lab04_operator.workloads import deployment, program, service, shell, sleeper

# Who is restarted: the service, and one workload of each other kind.
TARGETS = {"Deployment": "web", "StatefulSet": "web-sets", "DaemonSet": "web-nodes"}
# From the first answer on, five times a second: the answer of the service, or one word. Before
# that the name and the way to a new Service take a moment, which has nothing to do with it.
WATCH = """
until curl -sf --max-time 5 http://web:8080/; do
  sleep 0.2
done
while :; do
  curl -sf --max-time 5 http://web:8080/ || echo no-answer
  sleep 0.2
done
"""


def short(lab: LabContext, name: str) -> str:
    """The first twelve digits of a value's fingerprint: what the program answers with."""
    return lab.fingerprint(lab.secret(name))[:12]


def seen(lab: LabContext) -> list[str]:
    """What the pod `watcher` has got so far, an answer each."""
    with lab.quiet():
        # Until it runs the kubelet does not know it, and has no log of it.
        pod = lab.kube.get("Pod", "watcher") or {}
        if (pod.get("status") or {}).get("phase") != "Running":
            return []
        return lab.kube.logs("watcher").split()


@operator.step(
    "A change reaches the running pods",
    hints=[
        "In Vault `shop/web` with password `lab.secret('web-1')`. VaultStaticSecrets `web` and "
        "`web-pinned` (version: 1), both from it, refreshAfter 5s, create: true.",
        "`program('web')`, a Deployment `web` of two replicas with PASSWORD from the Secret web, a "
        "Service `web`, `sleeper(lab, kind, name, env)` for the other two of TARGETS, and a pod "
        "`watcher` that runs WATCH. The resource web names all three in rolloutRestartTargets.",
        "Wait until the watcher has seen `short(lab, 'web-1')`. Then write version 2 "
        "(`lab.secret('web-2')`) and wait until it has seen that, and the rollout is over.",
    ],
)
def follow_changes(lab: LabContext) -> None:
    """
    Somebody changes the password in Vault. Within `refreshAfter` the Secret follows. And
    the pods? A variable from a Secret is read **once**, when the container starts. Without
    a restart the old password stays in the process for months.

    `rolloutRestartTargets` names who must be restarted. The operator does what `kubectl
    rollout restart` does: it writes the time into an annotation of the pod template, and
    the Deployment replaces its pods one by one. Whether anybody notices is the Deployment's
    affair: here a new pod is ready before an old one goes, and an old one serves a moment
    longer. A pod **watches** five times a second; not one answer may be missing.
    StatefulSets and DaemonSets are restarted in the same way.

    A second resource **pins** version 1. It does not follow. That is how you keep one
    consumer on the old password while the others move.
    """
    address = f"/v1/{lab.path('kv', 'data', 'shop/web')}"
    lab.http.post(address, json={"data": {"password": lab.secret("web-1")}})
    restart = [{"kind": kind, "name": name} for kind, name in TARGETS.items()]
    lab.kube.apply(static_secret(lab, "web", "shop/web", rolloutRestartTargets=restart))
    lab.kube.apply(static_secret(lab, "web-pinned", "shop/web", version=1))
    wait_synced(lab, "VaultStaticSecret", "web")
    wait_synced(lab, "VaultStaticSecret", "web-pinned")

    # A service that knows nothing of Vault, and somebody who watches it.
    lab.kube.apply(program("web"))
    password = from_secret("PASSWORD", "web", "password")
    lab.kube.apply(deployment(lab, "web", "web", env=[password], replicas=2))
    lab.kube.apply(service("web"))
    for kind in ("StatefulSet", "DaemonSet"):
        lab.kube.apply(sleeper(lab, kind, TARGETS[kind], env=[password]))
    for kind, name in TARGETS.items():
        wait_rollout(lab, name, kind)
    lab.kube.apply(shell(lab, "watcher", WATCH))
    lab.kube.wait_for_pod("watcher")
    lab.wait_for("the watcher to see the first password", lambda: short(lab, "web-1") in seen(lab))

    # The change. Nobody touches the cluster.
    lab.http.post(address, json={"data": {"password": lab.secret("web-2")}})
    wait_value(lab, "web", lab.secret("web-2"))
    for kind, name in TARGETS.items():
        wait_rollout(lab, name, kind)
    lab.wait_for(
        "the watcher to see only the second password",
        lambda: seen(lab)[-5:] == 5 * [short(lab, "web-2")],
    )


@follow_changes.check
def _(lab: LabContext) -> None:
    expect(
        same(lab, "web", lab.secret("web-2")),
        "the Secret web holds the second password",
        found=lab.kube.events("web")[-3:],
    )
    expect(
        same(lab, "web-pinned", lab.secret("web-1")),
        "the Secret web-pinned holds the first one still: it is pinned",
    )
    for kind, name in TARGETS.items():
        _check_restart(lab.kube.get(kind, name) or {}, kind, name)
    answers = seen(lab)
    expect(
        {short(lab, "web-1"), short(lab, "web-2")} <= set(answers),
        "the watcher saw the first password at work, then the second",
        found=sorted(set(answers)) or "no answers in the log of the pod watcher",
    )
    expect(
        "no-answer" not in answers,
        f"and none of its {len(answers)} questions went without an answer",
        found=f"{answers.count('no-answer')} of {len(answers)}",
    )
    expect(
        answers[-1] == short(lab, "web-2"), "it sees only the second one now", found=answers[-3:]
    )
    entry = condition(lab, "VaultStaticSecret", "web", "RolloutRestart")
    expect(
        entry.get("reason") == "RolloutRestartTriggered",
        "the resource says so, too, in its condition RolloutRestart",
        found=entry,
    )
    expect(
        custom(lab, "VaultStaticSecret", "web-pinned")
        and not condition(lab, "VaultStaticSecret", "web-pinned", "RolloutRestart"),
        "the one without targets has no such condition",
    )


def _check_restart(found: Object, kind: str, name: str) -> None:
    expect(found, f"there is a {kind} {name}")
    text = restarted_at(found)
    expect(text, f"the operator restarted {kind} {name}", hint="rolloutRestartTargets")
    moment = datetime.datetime.fromisoformat(text)
    now = datetime.datetime.now(datetime.UTC)
    expect(
        moment <= now + datetime.timedelta(seconds=2),
        "and wrote down when, which is not in the future",
        found=text,
    )
    expect(is_rolled_out(found), "all its pods are of the new version", found=found.get("status"))
