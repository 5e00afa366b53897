"""Step 6: a Kubernetes Secret beside the volume: environment variables, owners, its end."""

from __future__ import annotations

from typing import Any

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.pods import env_sum, file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import (
    API,
    CLASS,
    MANAGED,
    deployment,
    end_secrets,
    find_in_etcd,
    pod,
    pod_of,
    secret_class,
    way_in,
)

DEPLOYMENTS = ("first", "second-copy")


def secret_object(name: str, **labels: str) -> Any:
    """One entry of secretObjects: the file `password` under the key `pwd`."""
    return {
        "secretName": name,
        "type": "Opaque",
        "labels": labels,
        "data": [{"objectName": "password", "key": "pwd"}],
    }


def owners(lab: LabContext, secret: str) -> list[str]:
    """The kinds of the owners of a Secret, sorted."""
    found = (lab.kube.get("Secret", secret) or {}).get("metadata") or {}
    return sorted(owner["kind"] for owner in found.get("ownerReferences") or [])


def wait_for_running(lab: LabContext, name: str) -> None:
    """Wait until the Deployment has a running pod."""
    lab.wait_for(
        f"a pod of {name} to run",
        lambda: pod_of(lab, name),
        timeout=90,
        explain=lambda: "\n".join(
            lab.kube.explain_pod(found["metadata"]["name"])
            for found in lab.kube.list("Pod", selector=f"app={name}")
        ),
    )


@csi.step(
    "Keep a Kubernetes Secret in step",
    hints=[
        "A class `synced` that reads `lab02-kv/data/shared`, key password, and has secretObjects "
        "`[secret_object('synced', team='shop')]`. Two Deployments, first and second-copy, mount "
        "it and have `env={'PASSWORD': ('synced', 'pwd')}`.",
        "The volume must be mounted for the Secret to be made, even by a pod that only wants "
        "the variable.",
        "Then a class `passing` with a Secret of that name and a bare pod `passing`; note the "
        "kinds of the Secret's owners in `lab.notes['passing']`, delete the pod, and wait until "
        "the Secret is gone.",
    ],
)
def sync_secret(lab: LabContext) -> None:
    """
    Some programs insist on **environment variables**, and those come from Kubernetes Secrets.
    With `secretObjects` the driver makes one out of files of the volume, *while* some pod has
    the volume mounted. Two Deployments share one here.

    - The Secret bears the labels you asked for, and one that marks it as the driver's.
    - Its **owners** are the ReplicaSets of the pods that use it. When the last one is gone,
      Kubernetes deletes the Secret. A bare pod's Secret goes with the pod: watch it go.
    - `type` must be given, and so must a mounted volume: a class alone makes no Secret.

    And now look into etcd again. This value *is* there, in the clear, and whoever may read
    Secrets in the namespace has it. The driver needs the right to write every Secret of
    the cluster for this (`secretprovidersyncing-role`). Use it where you must.
    """
    entry = (
        f"- {{objectName: password, secretPath: {lab.path('kv', 'data', 'shared')}, "
        "secretKey: password}"
    )
    synced = [secret_object("synced", team="shop")]
    lab.kube.apply(secret_class(lab, "synced", entry, secrets=synced))
    passing = [secret_object("passing")]
    lab.kube.apply(secret_class(lab, "passing", entry, secrets=passing))
    for name in DEPLOYMENTS:
        env = {"PASSWORD": ("synced", "pwd")}
        lab.kube.apply(deployment(lab, name, {"/secrets": "synced"}, env=env))
    lab.kube.apply(pod(lab, "passing", {"/secrets": "passing"}))

    # The driver writes Secrets a moment after the mount, and looks for owners each 5 s.
    lab.wait_for("the Secret passing to have an owner", lambda: owners(lab, "passing"))
    lab.notes["passing"] = owners(lab, "passing")
    lab.kube.delete("Pod", "passing")
    for name in DEPLOYMENTS:
        wait_for_running(lab, name)
    lab.wait_for("the Secret synced to have two owners", lambda: len(owners(lab, "synced")) == 2)
    lab.wait_for("the Secret passing to be gone", lambda: not lab.kube.get("Secret", "passing"))
    print("the synced value in etcd:", *find_in_etcd(lab, lab.secret("shared")))


@sync_secret.check
def _(lab: LabContext) -> None:
    found: dict[str, Any] = lab.kube.get("Secret", "synced") or {}
    expect(found, "there is a Kubernetes Secret synced")
    labels = (found.get("metadata") or {}).get("labels") or {}
    expect(
        labels.get("team") == "shop" and labels.get(MANAGED) == "true",
        "it bears the label asked for, and the driver's own",
        found=labels,
    )
    expect(found.get("type") == "Opaque", "it is of the type asked for", found=found.get("type"))
    expect(
        owners(lab, "synced") == ["ReplicaSet", "ReplicaSet"],
        "two ReplicaSets own it: it lives as long as one of them",
        found=owners(lab, "synced"),
    )
    wanted = lab.fingerprint(lab.secret("shared"))
    for name in DEPLOYMENTS:
        running = pod_of(lab, name)
        expect(running, f"a pod of the Deployment {name} runs")
        expect(
            file_sum(lab, running, "/secrets/password") == wanted
            and env_sum(lab, running, "PASSWORD") == wanted,
            f"{name} has the password as a file and as a variable (compared by SHA-256)",
        )
    expect(
        find_in_etcd(lab, lab.secret("shared")), "the value lies in etcd's files, in the clear now"
    )
    status = lab.kube.get(CLASS, "passing", api_version=API)
    expect(
        status and not lab.kube.get("Pod", "passing"), "the class passing is there, its pod is not"
    )
    noted = lab.notes.get("passing")
    expect(
        noted == ["SecretProviderClassPodStatus"],
        "the Secret of the bare pod belonged to the pod's status",
        found=noted or "no lab.notes['passing']",
    )
    expect(not lab.kube.get("Secret", "passing"), "with its last pod, the Secret passing went")
    reads = lab.audit.responses(lab.path("kv", "data", "shared"))
    expect(len(reads) >= 3, "three mounts read the value from Vault", found=len(reads))


@sync_secret.undo
def _(lab: LabContext) -> None:
    # The driver would write the Secrets again for as long as a pod is left.
    for name in DEPLOYMENTS:
        lab.kube.delete("Deployment", name)
    lab.kube.delete("Pod", "passing", grace=0)
    end_secrets(lab, {"synced", "passing"}, "synced", "passing")


@sync_secret.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab, "shared", "password")
