"""Steps 9 and 10: a secret changes; pods are replaced without a gap, and one stays behind."""

from __future__ import annotations

import datetime

from harness import expect
from harness.lab.api import LabContext, Object
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    condition,
    custom,
    is_rolled_out,
    kv,
    restarted_at,
    same,
    soon,
)

# The workloads that the operator restarts, one of each kind.
TARGETS = {"Deployment": "web", "StatefulSet": "web-sets", "DaemonSet": "web-nodes"}


def short(lab: LabContext, version: int = 0) -> str:
    """What the program answers with a version of shop/web: the beginning of its fingerprint."""
    return lab.fingerprint(kv(lab, "shop/web", version).get("password", ""))[:12]


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
    minutes=8,
    goals=[
        "the Secret web holds the second password",
        "the operator restarted Deployment web",
        "the operator restarted StatefulSet web-sets",
        "the operator restarted DaemonSet web-nodes",
        "the watcher saw the first password at work, then the second",
        "and no question went without an answer",
        "it sees only the second one now",
        "the resource says so, too, in its condition RolloutRestart",
    ],
    answer="In turn for a moment, while both pods serve. Then the second one only.",
    hints=[
        "`kubectl explain vaultstaticsecret.spec.rolloutRestartTargets`. `kubectl logs watcher | "
        "uniq -c` shows what the service has answered.",
        "The manifest has a Deployment `web`, a StatefulSet `web-sets` and a DaemonSet "
        "`web-nodes`: each is a target with kind and name.",
        "kind: StatefulSet, name: web-sets; kind: DaemonSet, name: web-nodes; path: shop/web.",
    ],
)
def follow_changes(lab: LabContext) -> None:
    """
    Somebody changes the password in Vault. Within `refreshAfter` the Secret follows. And the
    pods? A variable from a Secret is read **once**, when the container starts. Without a
    restart the old password stays in the process for months.

    `rolloutRestartTargets` names the workloads to restart. The operator does what `kubectl
    rollout restart` does: it writes the time into an annotation of the pod template, and
    Kubernetes replaces the pods one by one. Whether anybody notices depends on the Deployment.
    Here a new pod is ready before an old one goes, and an old one serves a moment longer.

    The file `manifests/web.yaml` holds a service that knows nothing of Vault, and a pod
    `watcher` that asks it five times a second. Not one answer may be missing.

    *Before you run the cell: two pods are replaced one after the other. Will the watcher see
    the two passwords in turn, or the first only and then the second only?*
    """
    lab.sh(r"""
head -c 12 /dev/urandom | base64 | tr -d '\n' |
  vault kv put -mount=$NAMESPACE-kv shop/web password=-
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: web
spec:
  vaultAuthRef: shop
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/web  #? the secret that you have just written
  refreshAfter: 5s
  rolloutRestartTargets:
  - kind: Deployment
    name: web
  - kind: StatefulSet
    name: web-sets  #? its name stands in the manifest below
  - kind: DaemonSet  #? the third kind
    name: web-nodes
  destination:
    name: web
    create: true
""")
    lab.sh("kubectl wait vaultstaticsecret/web --for=condition=SecretSynced --timeout=60s")
    lab.kubectl_apply(file="manifests/web.yaml")
    lab.sh(
        """
kubectl rollout status deployment/web --timeout=120s
kubectl rollout status statefulset/web-sets --timeout=120s
kubectl rollout status daemonset/web-nodes --timeout=120s
until kubectl logs watcher | grep .; do sleep 1; done
""",
        timeout=400,
    )
    # The change. From here on nobody touches the cluster.
    lab.sh(
        r"""
head -c 12 /dev/urandom | base64 | tr -d '\n' |
  vault kv put -mount=$NAMESPACE-kv shop/web password=-
kubectl wait vaultstaticsecret/web --for=condition=RolloutRestart --timeout=60s
kubectl rollout status deployment/web --timeout=120s
kubectl rollout status statefulset/web-sets --timeout=120s
kubectl rollout status daemonset/web-nodes --timeout=120s
kubectl logs watcher | uniq -c
""",
        timeout=400,
    )


@follow_changes.check
def _(lab: LabContext) -> None:
    expect(
        kv(lab, "shop/web", 2) and same(lab, "web", kv(lab, "shop/web")["password"]),
        "the Secret web holds the second password",
        found=lab.kube.events("web")[-3:],
    )
    for kind, name in TARGETS.items():
        _check_restart(lab, kind, name)
    now = short(lab)
    only_now = soon(lab, lambda: seen(lab)[-5:] == 5 * [now])
    answers = seen(lab)
    expect(
        {short(lab, 1), now} <= set(answers),
        "the watcher saw the first password at work, then the second",
        found=sorted(set(answers)) or "no answers in the log of the pod watcher",
    )
    expect(
        "no-answer" not in answers,
        "and no question went without an answer",
        found=f"{answers.count('no-answer')} of {len(answers)}",
    )
    expect(only_now, "it sees only the second one now", found=answers[-3:])
    entry = condition(lab, "VaultStaticSecret", "web", "RolloutRestart")
    expect(
        entry.get("reason") == "RolloutRestartTriggered",
        "the resource says so, too, in its condition RolloutRestart",
        found=entry,
    )


def _check_restart(lab: LabContext, kind: str, name: str) -> None:
    found = lab.kube.get(kind, name) or {}
    expect(found, f"there is a {kind} {name}")
    text = restarted_at(found)
    expect(text, f"the operator restarted {kind} {name}", hint="rolloutRestartTargets")
    moment = datetime.datetime.fromisoformat(text)
    now = datetime.datetime.now(datetime.UTC)
    expect(
        moment <= now + datetime.timedelta(seconds=2),
        "the annotation has the time of the restart, which is not in the future",
        found=text,
    )
    expect(_rolled_out(lab, kind, name), "all its pods are of the new version", found=found)


def _rolled_out(lab: LabContext, kind: str, name: str) -> Object | bool:
    return soon(lab, lambda: is_rolled_out(lab.kube.get(kind, name) or {}))


@operator.step(
    "Pin a version",
    minutes=3,
    further=True,
    goals=[
        "the Secret web-pinned holds the first password, the Secret web the second",
        "without targets it has no condition RolloutRestart",
    ],
    hints=[
        "`vault kv metadata get -mount=lab04-kv shop/web` lists the versions.",
        "`kubectl explain vaultstaticsecret.spec.version`.",
        "version: 1",
    ],
)
def pin_a_version(lab: LabContext) -> None:
    """
    One consumer is not ready for the new password. KV version 2 keeps the old one, and a
    resource can **pin** it. The pinned Secret does not follow, while all others move on.

    Do not forget to unpin: after `max_versions` more changes (ten, if you say nothing) the old
    version is gone from Vault.
    """
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: web-pinned
spec:
  vaultAuthRef: shop
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/web
  version: 1  #? which version?
  refreshAfter: 5s
  destination:
    name: web-pinned
    create: true
""")
    lab.sh("""
kubectl wait vaultstaticsecret/web-pinned --for=condition=SecretSynced --timeout=60s
for name in web web-pinned; do
  kubectl get secret $name -o jsonpath='{.data.password}' | base64 -d | sha256sum
done
""")


@pin_a_version.check
def _(lab: LabContext) -> None:
    first, now = (kv(lab, "shop/web", version).get("password", "") for version in (1, 0))
    expect(
        first and first != now and same(lab, "web-pinned", first) and same(lab, "web", now),
        "the Secret web-pinned holds the first password, the Secret web the second",
        found=lab.kube.events("web-pinned")[-3:],
    )
    expect(
        custom(lab, "VaultStaticSecret", "web-pinned")
        and not condition(lab, "VaultStaticSecret", "web-pinned", "RolloutRestart"),
        "without targets it has no condition RolloutRestart",
    )
