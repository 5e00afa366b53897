"""Step 4: the raw bytes of a Secret in etcd."""

from __future__ import annotations

import base64
import json
from typing import Any

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.etcd import etcd_key, readable
from labs.lab00_why.lab import why

READER = "etcd-reader"
PKI = "/etc/kubernetes/pki"


def reader_pod(lab: LabContext) -> Any:
    """A pod on the control-plane node, in its network, with a folder of it: the etcd client's."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": READER},
        "spec": {
            "nodeName": lab.control_plane.node.name,
            "hostNetwork": True,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": "shell",
                    "image": lab.image("app"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"],
                    # The key of the certificate can be read by root only.
                    "securityContext": {"runAsUser": 0},
                    "volumeMounts": [{"name": "pki", "mountPath": "/pki", "readOnly": True}],
                }
            ],
            "volumes": [{"name": "pki", "hostPath": {"path": PKI, "type": "Directory"}}],
        },
    }


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


@why.step(
    "Look into etcd",
    minutes=3,
    hints=[
        "etcd takes the client certificates that lie on its node, in /etc/kubernetes/pki/etcd. A "
        "pod with hostNetwork and a hostPath volume of that folder has all that it takes: "
        "`lab.kube.apply(reader_pod(lab))`.",
        "etcd answers JSON at https://127.0.0.1:2379/v3/kv/range; keys and values are base64. "
        "`ask_etcd(lab, {'key': '/registry/secrets/lab00/stored'})` asks from inside the pod.",
        "Make the Secret stored (key password, `lab.secret('stored')`). Keep in "
        "`lab.notes['etcd']`: start (the first four bytes, `repr`), clear (whether the password "
        "stands in the value), names (how many keys /registry/secrets/ has; range_end is "
        "/registry/secrets0).",
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
    binary but not encrypted: the password stands in it as it is, without even base64. (It is
    masked below, because this lab masks what it knows to be secret. etcd does not.)

    The keys are paths: `/registry/secrets/NAMESPACE/NAME`. They tell every Secret's name, and
    they stay readable when the values are encrypted.

    Encrypting them is possible: lab 06 does it, for people who run clusters.
    """
    lab.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "stored"},
            "stringData": {"password": lab.secret("stored")},
        }
    )
    lab.kube.apply(reader_pod(lab))
    lab.kube.wait_for_pod(READER)
    (stored,) = ask_etcd(lab, {"key": etcd_key(lab, "stored")})
    print(stored["key"], readable(stored["value"], 2000), sep="\n")

    # All Secrets of all namespaces: their names, in one request.
    everything = ask_etcd(
        lab, {"key": "/registry/secrets/", "range_end": "/registry/secrets0", "keys_only": True}
    )
    print(*[entry["key"] for entry in everything][:5], "…", sep="\n")
    lab.notes["etcd"] = {
        "start": repr(stored["value"][:4]),
        "clear": lab.secret("stored").encode() in stored["value"],
        "names": len(everything),
    }


@look_into_etcd.check
def _(lab: LabContext) -> None:
    noted = lab.notes.get("etcd", {})
    expect(lab.kube.get("Secret", "stored"), "there is a Secret stored")
    pod = lab.kube.get("Pod", READER) or {}
    expect(
        (pod.get("status") or {}).get("phase") == "Running",
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
    expect(
        lab.secret("stored").encode() in value,
        "the password stands in it as it is, without base64",
        hint="the value is lab.secret('stored')",
    )
    expect(
        noted.get("start") == repr(b"k8s\x00") and noted.get("clear") is True,
        "and that was noted",
        found=noted or "no lab.notes['etcd']",
    )
    expect(noted.get("names", 0) >= 1, "with the number of Secrets that the keys tell of")
