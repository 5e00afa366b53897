"""Step 7: a new version in Vault: what follows, and what does not."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, LoginPath
from harness.lab.kit.kubernetes_auth import make_role
from harness.lab.kit.pods import env_sum, file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.sync import owners, secret_object
from labs.lab02_csi.volumes import (
    end_secrets,
    expect_mounted,
    nudge_until,
    pod,
    secret_class,
    way_in,
)


def write_version(lab: LabContext, number: int, name: str = "rotating") -> None:
    """Write version `number` of a secret of this lab's key/value engine."""
    value = lab.secret(f"{name}-{number}")
    lab.http.post(f"/v1/{lab.path('kv', 'data', name)}", json={"data": {"password": value}})


def allow_reading(lab: LabContext, name: str, account: str = "app") -> None:
    """A policy and a role, both named after the secret, for one service account."""
    path = lab.path("kv", "data", name)
    policy = f'path "{path}" {{ capabilities = ["read"] }}'
    lab.http.put(f"/v1/sys/policies/acl/{lab.path(name)}", json={"policy": policy})
    make_role(lab, name, policies=[lab.path(name)], account=account)


@csi.step(
    "Rotate",
    hints=[
        "`write_version(lab, 1)` and `allow_reading(lab, 'rotating')` first. The class rotating "
        "has role rotating, the file password, and a Secret `secret_object('rotating')`.",
        "The pod rotating: volume /secrets, `env={'PASSWORD': ('rotating', 'pwd')}`, "
        "`single='password'` for the mount by subPath. When it runs: `write_version(lab, 2)`.",
        "Then wait a minute or two, or `nudge_until(lab, 'rotating', what, probe)`.",
    ],
)
def rotate(lab: LabContext) -> None:
    """
    Somebody writes a new password to Vault. Which of its copies change, without a restart?

    | where the pod has it | after the rotation |
    |---|---|
    | a file of the volume | new |
    | the Kubernetes Secret made from it | new |
    | an environment variable from that Secret | **old**, until the container starts again |
    | the same file mounted by `subPath` | **old**: it is bound to the first folder for good |

    Who notices? Nobody watches Vault. Kubelet looks after each pod every 60 to 90 seconds,
    and whenever the pod changes, and calls the driver each time; the driver asks the
    provider again when its **poll interval** is over: 10 seconds here, two minutes unless
    told otherwise. So in a cluster this takes minutes. To save you the wait we *nudge*
    kubelet: an annotation is a change of the pod.

    A trap of this driver version: each update of the Secret takes its owner away, for up to
    five seconds. A pod that goes in that time leaves its Secret behind, for good.

    An application must read the file again: when it is needed, or by watching the folder.
    """
    write_version(lab, 1)
    allow_reading(lab, "rotating")
    lab.kube.apply(
        secret_class(
            lab,
            "rotating",
            f"""
- {{objectName: password, secretPath: {lab.path("kv", "data", "rotating")}, secretKey: password}}
""",
            role="rotating",
            secrets=[secret_object("rotating")],
        )
    )
    env = {"PASSWORD": ("rotating", "pwd")}
    lab.kube.apply(pod(lab, "rotating", {"/secrets": "rotating"}, env=env, single="password"))
    lab.kube.wait_for_pod("rotating", timeout=90)

    write_version(lab, 2)
    new = lab.fingerprint(lab.secret("rotating-2"))
    nudge_until(
        lab,
        "rotating",
        "the new password to arrive in the file and in the Secret",
        lambda: file_sum(lab, "rotating", "/secrets/password") == synced_sum(lab) == new,
    )
    # The driver wrote the Secret anew, without its owner, and puts that back within 5 s.
    lab.wait_for("the Secret to have its owner again", lambda: owners(lab, "rotating"))


def synced_sum(lab: LabContext) -> str:
    """The SHA-256 of the value in the Kubernetes Secret rotating, "" without one."""
    if not lab.kube.get("Secret", "rotating"):
        return ""
    get = f"kubectl -n {lab.namespace} get secret rotating -o go-template="
    with lab.quiet():
        return lab.fingerprint(lab.run(get + "'{{.data.pwd | base64decode}}'"))


@rotate.check
def _(lab: LabContext) -> None:
    answer = lab.http.get(f"/v1/{lab.path('kv', 'metadata', 'rotating')}", allow={404})
    version = (answer.json().get("data") or {}).get("current_version")
    expect(version == 2, "Vault has two versions of the secret rotating", found=version)
    expect_mounted(lab, "rotating")
    found = lab.kube.get("Pod", "rotating") or {}
    restarts = found["status"]["containerStatuses"][0]["restartCount"]
    expect(restarts == 0, "its container was never restarted", found=restarts)
    old, new = (lab.fingerprint(lab.secret(f"rotating-{number}")) for number in (1, 2))
    names = {old: "the old value", new: "the new value", "": "nothing"}
    sums = {
        "the file of the volume has the new value": (
            file_sum(lab, "rotating", "/secrets/password"),
            new,
        ),
        "the Kubernetes Secret has the new value": (synced_sum(lab), new),
        "the environment variable has the old value": (env_sum(lab, "rotating", "PASSWORD"), old),
        "the file mounted by subPath has the old value": (
            file_sum(lab, "rotating", "/single/password"),
            old,
        ),
    }
    for what, (sum_, wanted) in sums.items():
        expect(
            sum_ == wanted,
            what,
            found=names.get(sum_, "another value"),
            hint="wait two minutes, or nudge: kubectl annotate pod rotating --overwrite a=$RANDOM",
        )

    expect(
        owners(lab, "rotating") == ["SecretProviderClassPodStatus"],
        "the Secret belongs to the pod's status, so that it goes with the pod",
        found=owners(lab, "rotating"),
        hint="the driver looks for owners every five seconds",
    )


@rotate.undo
def _(lab: LabContext) -> None:
    lab.kube.delete("Pod", "rotating", grace=0)
    end_secrets(lab, {"rotating"}, "rotating")


@rotate.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
