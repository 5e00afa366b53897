"""Step 4: no copy in etcd, shown by looking."""

from __future__ import annotations

import base64

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.pods import file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import expect_mounted, find_in_etcd, pod

CONTROL = "control"


@csi.step(
    "Look into etcd",
    hints=[
        "A look that finds nothing proves nothing, unless it could have found something. Make "
        "an ordinary Secret `control` whose key value is `lab.secret('control')`, and a pod "
        "`plain` with the volume /secrets of class app.",
        "`find_in_etcd(lab, value)` searches etcd's files on the node for a value; try it with "
        "`lab.secret('control')` and with `lab.secret('app')`.",
    ],
)
def look_into_etcd(lab: LabContext) -> None:
    """
    The pod has its password. Is it in **etcd** now? We search etcd's own files on the node,
    database and log, for the value. That is what somebody has who takes a disk or a backup.

    So that the answer *no* means something, there is a control: an ordinary Kubernetes
    Secret with another value. It is found at once, as it is: what `kubectl get secret` shows
    in base64 lies in the clear in the file, unless encryption at rest was set up.

    What etcd does hold of the volume: the class (paths, no values), and for each pod a status
    with a version of each file. The version is an HMAC under a key of the provider's own,
    so that nobody can try out which password gives it.
    """
    lab.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": CONTROL},
            "data": {"value": base64.b64encode(lab.secret("control").encode()).decode()},
        }
    )
    lab.kube.apply(pod(lab, "plain", {"/secrets": "app"}))
    lab.kube.wait_for_pod("plain")
    for what, value in (
        ("the Kubernetes Secret", lab.secret("control")),
        ("the file in the pod", lab.secret("app")),
    ):
        found = find_in_etcd(lab, value)
        print(f"{what}: in {len(found)} of etcd's files", *found)


@look_into_etcd.check
def _(lab: LabContext) -> None:
    expect(lab.kube.get("Secret", CONTROL), "there is an ordinary Secret control")
    expect_mounted(lab, "plain")
    expect(
        file_sum(lab, "plain", "/secrets/password") == lab.fingerprint(lab.secret("app")),
        "a pod has the password of Vault in a file",
    )
    found = find_in_etcd(lab, lab.secret("control"))
    expect(
        found, "the value of the ordinary Secret lies in etcd's files, in the clear", found=found
    )
    found = find_in_etcd(lab, lab.secret("app"))
    expect(not found, "the password that the pod has is in none of etcd's files", found=found)
    names = [secret["metadata"]["name"] for secret in lab.kube.list("Secret")]
    expect(names == [CONTROL], "no other Kubernetes Secret is in the namespace", found=names)
