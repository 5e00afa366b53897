"""Step 1: encoding is not encryption."""

from __future__ import annotations

import base64
import json
from typing import Any

import yaml

from harness import expect
from harness.lab.api import LabContext, redact
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


def decoded(secret: Any, key: str = "password") -> str:
    """The value under `key` of a Secret, "" when there is no Secret or no such key."""
    return base64.b64decode(((secret or {}).get("data") or {}).get(key, "")).decode()


def applied_password(secret: Any) -> str:
    """The password that `kubectl apply` left in an annotation of a Secret, "" without one."""
    annotations = ((secret or {}).get("metadata") or {}).get("annotations") or {}
    written = json.loads(annotations.get(LAST_APPLIED, "{}"))
    return str((written.get("stringData") or {}).get("password", ""))


@why.step(
    "Decode it",
    minutes=3,
    hints=[
        "Two Secrets with the same password, `lab.secret('app')`, made in two ways: one by "
        "`kubectl apply` of a manifest, one by `kubectl create secret generic`. "
        "`kubectl get secret app -o yaml` shows what is stored.",
        "The Secret `app` has the keys username and password under stringData "
        "(`secret_manifest` makes it). Look at its annotations afterwards.",
        "The Secret `created`: `kubectl create secret generic created "
        "--from-file=password=/dev/stdin`, with the password on standard input.",
    ],
)
def decode_it(lab: LabContext) -> None:
    """
    `kubectl describe secret` shows no values, only their lengths. `kubectl get -o yaml`
    shows `c2hvcA==`. That looks encrypted, and is not: it is **base64**, an *encoding*, so
    that a value may hold any bytes. There is no key. Whoever can read the object can decode
    it, with a program that is on every machine.

    There is a second copy that is not even encoded. `kubectl apply` keeps the manifest that
    it was given in an **annotation**, `last-applied-configuration`, to find out next time
    what you took out. With `stringData` in it, the password stands there in the clear; and
    annotations are what tools print, log and collect without a thought. `describe` leaves
    this one out, `-o yaml` does not.

    `kubectl create`, and `kubectl apply --server-side`, write no such annotation.
    """
    kubectl = f"kubectl -n {lab.namespace}"
    manifest = secret_manifest(lab, "app", username="shop", password=lab.secret("app"))
    print(redact(manifest))
    lab.run("kubectl apply -f -", stdin=manifest)
    lab.run(
        f"{kubectl} create secret generic created --from-file=password=/dev/stdin",
        stdin=lab.secret("app"),
    )
    # What hides the values, and what does not.
    described = lab.run(f"{kubectl} describe secret app")
    print(*[line for line in described.splitlines() if " bytes" in line], sep="\n")
    stored = lab.kube.get("Secret", "app") or {}
    print("username:", stored["data"]["username"], "decodes to", decoded(stored, "username"))

    # The password, by its SHA-256: decoded from the data, and as it stands in the annotation.
    for where, value in (
        ("what was put in", lab.secret("app")),
        ("data, decoded", decoded(stored)),
        ("annotation, as it is", applied_password(stored)),
        ("annotation of created", applied_password(lab.kube.get("Secret", "created"))),
    ):
        print(f"{where:22} {lab.fingerprint(value)[:16] if value else 'nothing'}")


@decode_it.check
def _(lab: LabContext) -> None:
    wanted = lab.fingerprint(lab.secret("app"))
    stored = lab.kube.get("Secret", "app")
    expect(stored, "there is a Secret app")
    expect(
        lab.fingerprint(decoded(stored)) == wanted,
        "its key password decodes to the value that was put in: no key was needed",
        found=f"{len(decoded(stored))} characters",
        hint="the value is lab.secret('app'), without a line end",
    )
    described = lab.run(f"kubectl -n {lab.namespace} describe secret app")
    expect(
        lab.secret("app") not in described and LAST_APPLIED not in described,
        "kubectl describe shows neither the value nor the annotation",
    )
    expect(
        lab.fingerprint(applied_password(stored)) == wanted,
        "kubectl apply left the password in an annotation, in the clear",
        found=sorted(((stored or {})["metadata"].get("annotations") or {}).keys()),
        hint="kubectl apply -f, without --server-side, of a manifest with stringData",
    )
    created = lab.kube.get("Secret", "created")
    expect(
        lab.fingerprint(decoded(created)) == wanted,
        "there is a Secret created with the same password",
        found=f"{len(decoded(created))} characters" if created else "no such Secret",
    )
    expect(
        not applied_password(created),
        "it has no such annotation: kubectl create leaves none",
        hint="kubectl create secret generic, not kubectl apply",
    )
