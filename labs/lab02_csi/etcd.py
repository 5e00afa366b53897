"""Step 4: no copy in etcd, shown by looking."""

from __future__ import annotations

import base64

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.etcd import find_in_etcd
from harness.lab.kit.kv import stored, stored_sum
from harness.lab.kit.pods import file_sum
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import expect_mounted


@csi.step(
    "Look into etcd",
    minutes=6,
    goals=[
        "there is an ordinary Secret control",
        "a pod has the password of Vault in a file",
        "the value of the ordinary Secret lies in etcd's files, in the clear",
        "the password that the pod has is in none of etcd's files",
        "no other Kubernetes Secret is in the namespace",
    ],
    hints=[
        "A look that finds nothing proves nothing, unless it could have found something: that is "
        "what the Secret control is for. Its value lies under the key `value`.",
        "What does `kubectl get secret control -o yaml` show? It is not the value itself; "
        "lab 00 began with that.",
        "base64 -d, and -field=password",
    ],
)
def look_into_etcd(lab: LabContext) -> None:
    """
    The pod `web` has its password. Is it in **etcd** now? We search etcd's own files on the
    node, database and log, for the value. That is what somebody has who takes a disk or a
    backup.

    So that the answer *no* means something, there is a control: an ordinary Kubernetes
    Secret with another value. It is found at once, as it is: what `kubectl get secret` shows
    in base64 lies in the clear in the file, unless encryption at rest was set up.

    What etcd does hold of the volume: the class (paths, no values), and for each pod a status
    with a version of each file. The version is an HMAC under a key of the provider's own,
    so that nobody can try out which password gives it.

    The node is a container here, so `docker exec` reaches its disk. The value travels by
    standard input: anybody on the machine can see a command line.
    """
    lab.sh("""
kubectl create secret generic control \
  --from-literal=value=$(head -c 12 /dev/urandom | base64)
kubectl get secret control -o jsonpath='{.data.value}' |
  base64 -d |  #?(base64 -d) what makes the value of what kubectl shows?
  docker exec -i $NODE grep -rlF -f - /var/lib/etcd/member
""")
    lab.sh("""
vault kv get -mount=$NAMESPACE-kv -field=password app |  #?(password) what the pod has as a file
  docker exec -i $NODE grep -rlF -f - /var/lib/etcd/member ||
  echo "in none of etcd's files"
""")


@look_into_etcd.check
def _(lab: LabContext) -> None:
    control = (lab.kube.get("Secret", "control") or {}).get("data") or {}
    expect(control.get("value"), "there is an ordinary Secret control", found=sorted(control))
    expect_mounted(lab, "web")
    expect(
        file_sum(lab, "web", "/secrets/password") == stored_sum(lab, "app"),
        "a pod has the password of Vault in a file",
    )
    found = find_in_etcd(lab, base64.b64decode(control["value"]).decode())
    expect(
        found, "the value of the ordinary Secret lies in etcd's files, in the clear", found=found
    )
    found = find_in_etcd(lab, stored(lab, "app"))
    expect(not found, "the password that the pod has is in none of etcd's files", found=found)
    names = [secret["metadata"]["name"] for secret in lab.kube.list("Secret")]
    expect(names == ["control"], "no other Kubernetes Secret is in the namespace", found=names)
