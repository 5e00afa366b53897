"""Step 10: what each way does while Vault is sealed, and while its own parts are away."""

from __future__ import annotations

import time
from typing import Any

from harness import expect
from harness.lab.api import LabContext
from labs.lab05_five_ways.away import (
    FAILS,
    STARTS,
    WAITS,
    WORKS,
    begun,
    ended,
    restarted,
)
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.results import drop, load
from labs.lab05_five_ways.ways import CSI, HTTP, INJECTOR, OPERATOR, PLAIN, WAYS

IN_CLUSTER = {PLAIN.name, OPERATOR.name}
ASK_VAULT = {HTTP.name, CSI.name, INJECTOR.name}
NEED_NO_PART = {PLAIN.name, HTTP.name, INJECTOR.name}


@five_ways.step(
    "When something is away",
    minutes=4,
    further=True,
    goals=[
        "while Vault was sealed, running pods kept their password, but for the program that "
        "asks Vault itself and gives up",
        "while Vault was sealed, a new pod started where the password was a Kubernetes Secret, "
        "and waited everywhere else",
        "every pod that waited for Vault has started by itself since",
        "while the parts in the cluster were away, a change still came with an agent in the pod "
        "or a program of one's own",
        "without its webhook the injector's new pod was let in without an agent, and fails",
        "a new pod of the way CSI waited for the provider",
    ],
    hints=[
        "`vault operator seal` closes Vault. What opens it again is in $VAULT_UNSEAL_KEY; "
        "`./lab up` does it, too.",
        "`kubectl scale deployment --all --replicas=0` takes a Deployment's pods away, a "
        "nodeSelector that fits no node those of a DaemonSet.",
        "./lab solve 05.10",
    ],
)
def when_something_is_away(lab: LabContext) -> None:
    """
    Vault will be sealed one day, and a node will lose a pod that others rely on. What happens to
    a **running** pod, to a **new** one, and to a **change**?

    First Vault is sealed: it answers 503 to everything. New pods are made of your own
    templates. After the unsealing the time counts until each has its password.

    Then Vault is there, and the parts in the cluster are away: the CSI provider, the injector's
    webhook, the operator. The injector's webhook has `failurePolicy: Ignore`, as upstream's
    chart sets it: look at what that means for a new pod.

    `./lab run 05 --full` also restarts the node.
    """
    lab.sh("cat $LAB/new_pods.sh")
    lab.sh("""
vault operator seal  #?(operator seal) what closes Vault?
bash $LAB/new_pods.sh sealed
""")
    with lab.quiet():
        sealed = begun(lab, "sealed", change=False)
    lab.sh("kubectl get pods -l outage=sealed")
    lab.sh("""
printf %s "$VAULT_UNSEAL_KEY" | vault write sys/unseal key=- | grep -E '^(Key|sealed)'
until vault token lookup > /dev/null 2>&1; do sleep 0.2; done
""")
    print("while Vault was sealed; times from the unsealing")
    with lab.quiet():
        ended(lab, sealed)
    lab.sh("""
kubectl -n vault-injector scale deployment --all --replicas=0
kubectl -n vault-secrets-operator-system scale deployment --all --replicas=0
kubectl -n csi get daemonset -o name | xargs -n 1 kubectl -n csi patch --type=merge --patch \
  '{"spec": {"template": {"spec": {"nodeSelector": {"away": "yes"}}}}}'
for namespace in vault-injector vault-secrets-operator-system csi; do
  kubectl -n $namespace wait pod --all --for=delete --timeout=60s
done
bash $LAB/new_pods.sh parts
""")
    with lab.quiet():
        parts = begun(lab, "parts", change=True)
    lab.sh("kubectl get pods -l outage=parts")
    lab.sh("cat $LAB/bring_back.sh; bash $LAB/bring_back.sh", timeout=240)
    print("while the parts in the cluster were away; times from their return")
    with lab.quiet():
        ended(lab, parts)
    if lab.full:
        since = time.time()
        lab.sh("docker restart $NODE")
        print("after the node's restart; times from its beginning")
        with lab.quiet():
            restarted(lab, since)


@when_something_is_away.check
def _(lab: LabContext) -> None:
    outages = load(lab).get("outages") or {}
    sealed, parts = (outages.get(name) or {} for name in ("sealed", "parts"))
    missing = [way.name for way in WAYS if way.name not in sealed or way.name not in parts]
    expect(not missing, "both outages were looked at, for each way", found=missing)
    expect(
        _ways(sealed, "running", WORKS) == {way.name for way in WAYS if way is not HTTP},
        "while Vault was sealed, running pods kept their password, but for the program that "
        "asks Vault itself and gives up",
        found=_of(sealed, "running"),
    )
    expect(
        _ways(sealed, "new_pod", STARTS) == IN_CLUSTER
        and _ways(sealed, "new_pod", WAITS) == ASK_VAULT,
        "while Vault was sealed, a new pod started where the password was a Kubernetes Secret, "
        "and waited everywhere else",
        found=_of(sealed, "new_pod"),
    )
    expect(
        all(sealed[name]["new_pod_well_after_seconds"] is not None for name in ASK_VAULT),
        "every pod that waited for Vault has started by itself since",
        found=_of(sealed, "new_pod_well_after_seconds"),
    )
    expect(
        NEED_NO_PART - {PLAIN.name} <= _ways(parts, "change", WORKS),
        "while the parts in the cluster were away, a change still came with an agent in the pod "
        "or a program of one's own",
        found=_of(parts, "change"),
    )
    expect(
        _ways(parts, "new_pod", FAILS) == {INJECTOR.name},
        "without its webhook the injector's new pod was let in without an agent, and fails",
        found=_of(parts, "new_pod"),
    )
    expect(
        parts[CSI.name]["new_pod"] == WAITS,
        "a new pod of the way CSI waited for the provider",
        found=parts[CSI.name],
    )


@when_something_is_away.undo
def _(lab: LabContext) -> None:
    with lab.quiet():
        lab.sh("bash $LAB/bring_back.sh", timeout=240)
    drop(lab, "outages")


def _ways(seen: dict[str, Any], key: str, value: str) -> set[str]:
    return {name for name, one in seen.items() if one.get(key) == value}


def _of(seen: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: one.get(key) for name, one in seen.items()}
