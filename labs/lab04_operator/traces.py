"""Step 13: where the secret lies now, and what Vault's audit log knows of its readers."""

from __future__ import annotations

from typing import Any

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.pods import from_secret
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import reads_of
from labs.lab04_operator.refusals import team

# Counts the files of etcd in which the password stands as it is.
SEARCH = 'grep -rlaF -e "$PASSWORD" /etcd 2>/dev/null | wc -l'


def searcher(lab: LabContext) -> Any:
    """A pod that reads etcd's files: what root on a control-plane node, or a backup, can do."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "searcher"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": "shell",
                    "image": lab.image("app"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", SEARCH],
                    "securityContext": {"runAsUser": 0, "runAsGroup": 0},
                    "env": [from_secret("PASSWORD", "app", "password")],
                    "volumeMounts": [{"name": "etcd", "mountPath": "/etcd", "readOnly": True}],
                }
            ],
            "volumes": [{"name": "etcd", "hostPath": {"path": "/var/lib/etcd"}}],
        },
    }


def readers(lab: LabContext) -> set[str]:
    """Who has read the secrets of shop and team since this step began, by Vault's audit log."""
    entries = lab.audit.entries()
    paths = (lab.path("kv", "data", "shop/app"), lab.path("kv", "data", "team/app"))
    return set().union(*(reads_of(entries, path) for path in paths))


@operator.step(
    "Where it lies, and who has seen it",
    hints=[
        "Wait until `readers(lab)` has a read of each of the two teams: the operator polls every "
        "five seconds. `print` them.",
        "`lab.kube.apply(searcher(lab))` and `wait_for_pod('searcher', 'Succeeded')`; its log is "
        "the number of etcd's files in which the password stands.",
    ],
)
def follow_the_traces(lab: LabContext) -> None:
    """
    Two questions that an auditor asks.

    **Who has read it?** Vault's log names the *consumer*: `lab04/shop`, `lab04-team/team`.
    The operator does not appear, because it has no identity of its own there. But it names
    only who had the copy **made**. Who read the Kubernetes Secret afterwards Vault cannot
    know; that is for the API server's audit log, if there is one.

    **Where does it lie?** In Vault, encrypted; and in **etcd**, as the API server wrote it.
    Base64 is what `kubectl` shows; in etcd's files the value stands *as it is*. A pod with
    the right to mount a folder of the control-plane node finds it with `grep`, and so does
    whoever gets hold of a backup. Encryption at rest (lab 00) helps against the latter.

    With the direct API, the CSI provider and the injector the secret never was in etcd.
    That is the price of this comfort: anything that reads a Secret works unchanged.
    """
    lab.wait_for(
        "both teams to have read their secret again",
        lambda: {f"{lab.namespace}/shop", f"{team(lab)}/team"} <= readers(lab),
        explain=lambda: f"seen so far: {sorted(readers(lab))}",
    )
    print("\n".join(f"read by {reader}" for reader in sorted(readers(lab))))

    lab.kube.apply(searcher(lab))
    lab.kube.wait_for_pod("searcher", "Succeeded")
    print(f"the password stands in {lab.kube.logs('searcher').strip()} of etcd's files")


@follow_the_traces.check
def _(lab: LabContext) -> None:
    found = readers(lab)
    expect(
        {f"{lab.namespace}/shop", f"{team(lab)}/team"} <= found,
        "Vault's audit log names both consumers by namespace and service account",
        found=sorted(found),
    )
    expect(
        not any("vault-secrets-operator" in reader for reader in found),
        "and never the operator",
        found=sorted(found),
    )
    pod = lab.kube.get("Pod", "searcher") or {}
    expect(pod, "there is a pod searcher that looked into etcd's files")
    lab.kube.wait_for_pod("searcher", "Succeeded", timeout=30)
    number = lab.kube.logs("searcher").strip()
    expect(
        number.isdigit() and int(number) > 0,
        "the password that only Vault should know stands in etcd's files as it is",
        found=number,
        hint="0 when etcd is encrypted at rest: good for you; this environment is not",
    )
