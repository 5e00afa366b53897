"""Step 1: encoding is not encryption."""

from __future__ import annotations

import base64
import json
from typing import Any

import yaml

from harness import expect
from harness.lab.api import LabContext, Secret
from labs.lab00_why.lab import why

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def secret_manifest(lab: LabContext, name: str, namespace: str = "", **values: str) -> str:
    """A Secret as somebody would write it into a file: `stringData`, in the clear."""
    metadata = {
        "name": name,
        "namespace": namespace or lab.namespace,
        "labels": dict(lab.labels()),
    }
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "stringData": {key: str(value) for key, value in values.items()},
        }
    )


def decoded(secret: Any, key: str = "password") -> Secret:
    """The value under `key` of a Secret, "" when there is no Secret or no such key."""
    return Secret(base64.b64decode(((secret or {}).get("data") or {}).get(key, "")).decode())


def password_of(lab: LabContext, name: str) -> Secret:
    """The password in a Secret of this lab, "" when there is none."""
    return decoded(lab.kube.get("Secret", name))


def applied_password(secret: Any) -> str:
    """The password that `kubectl apply` left in an annotation of a Secret, "" without one."""
    annotations = ((secret or {}).get("metadata") or {}).get("annotations") or {}
    written = json.loads(annotations.get(LAST_APPLIED, "{}"))
    return str((written.get("stringData") or {}).get("password", ""))


@why.step(
    "Decode it",
    minutes=3,
    goals=[
        "there is a Secret app with a username and a password",
        "kubectl apply left the password in an annotation, in the clear",
        "kubectl describe shows neither the value nor the annotation",
        "there is a Secret created with the same password",
        "it has no such annotation: kubectl create leaves none",
    ],
    hints=[
        "`kubectl get secret app -o yaml` shows what is stored, `kubectl describe secret app` what "
        "is hidden.",
        "A Secret has two fields for values: `data` takes base64, the other one takes plain text. "
        "The program that decodes base64 is on every machine.",
        "stringData: ... base64 -d",
    ],
)
def decode_it(lab: LabContext) -> None:
    """
    `kubectl describe secret` shows no values, only their lengths. `kubectl get -o yaml`
    shows `c2hvcA==`. That looks encrypted, and is not: it is **base64**, an *encoding*, so
    that a value may hold any bytes. There is no key. Whoever can read the object can decode
    it, with a program that is on every machine.

    There is a second copy that is not even encoded. `kubectl apply` keeps the manifest that
    you gave it in an **annotation**, `last-applied-configuration`, to find out next time
    what you took out. With `stringData` in it, the password stands there in the clear; and
    annotations are what tools print, log and collect without a thought. `describe` leaves
    this one out, `-o yaml` does not.

    `kubectl create`, and `kubectl apply --server-side`, write no such annotation.

    You will see the same SHA-256 twice, once for each copy, and no annotation on the Secret
    `created`. (Two equal SHA-256 mean two equal values, and show neither.)
    """
    lab.sh(r"""
kubectl apply -f - <<EOF
apiVersion: v1
kind: Secret
metadata: {name: app}
stringData: #?(stringData) the field that takes plain text
  username: shop
  password: $(head -c 18 /dev/urandom | base64)
EOF
kubectl get secret app -o jsonpath='{.data.password}' | base64 -d |
  kubectl create secret generic created --from-file=password=/dev/stdin
""")
    lab.sh(r"""
kubectl describe secret app
kubectl get secret app -o jsonpath='{.data.username}{"\n"}'
kubectl get secret app -o jsonpath='{.data.username}' |
  base64 -d  #?(base64 -d) no key is needed
""")
    lab.sh(r"""
# The password, by its SHA-256: decoded from the data, and as it is in the annotation.
kubectl get secret app -o jsonpath='{.data.password}' | base64 -d | sha256sum
annotation='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}'
kubectl get secret app -o jsonpath="$annotation" | jq -j .stringData.password | sha256sum
echo "annotation of created: $(kubectl get secret created -o jsonpath="$annotation" | wc -c) bytes"
""")


@decode_it.check
def _(lab: LabContext) -> None:
    stored = lab.kube.get("Secret", "app") or {}
    password = decoded(stored)
    expect(
        password and decoded(stored, "username"),
        "there is a Secret app with a username and a password",
        found=sorted(stored.get("data") or {}) or "no such Secret",
    )
    expect(
        applied_password(stored) == password,
        "kubectl apply left the password in an annotation, in the clear",
        found=sorted(stored["metadata"].get("annotations") or {}),
        hint="kubectl apply -f, without --server-side, of a manifest with stringData",
    )
    described = lab.run(f"kubectl -n {lab.namespace} describe secret app")
    expect(
        password not in described and LAST_APPLIED not in described,
        "kubectl describe shows neither the value nor the annotation",
    )
    created = lab.kube.get("Secret", "created")
    expect(
        decoded(created) == password,
        "there is a Secret created with the same password",
        found=f"{len(decoded(created))} characters" if created else "no such Secret",
        hint="the decoded value, without a line end: base64 -d",
    )
    expect(
        not applied_password(created),
        "it has no such annotation: kubectl create leaves none",
        hint="kubectl create secret generic, not kubectl apply",
    )
