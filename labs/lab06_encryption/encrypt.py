"""Step 1: encryption at rest; what it changes in etcd and when."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import yaml

from harness import expect
from harness.lab.api import CommandFailed, LabContext, Secret
from harness.lab.kit.control_plane import survey, writer, writer_of
from harness.lab.kit.etcd import etcd_key, raw, readable
from labs.lab06_encryption.lab import encryption

SECRETS = "/registry/secrets/"
KMS = {
    "apiVersion": "v2",
    "name": "vault",
    "endpoint": "unix:///run/kms/vault.sock",
    "timeout": "3s",
}


def key(lab: LabContext, name: str) -> Secret:
    """An encryption key of 32 bytes in base64; the same on every call, never stored."""
    digest = hashlib.sha256(f"key {name} {lab.secret('encryption')}".encode()).digest()
    return Secret(base64.b64encode(digest).decode())


def configuration(lab: LabContext, *providers: str) -> str:
    """An EncryptionConfiguration for Secrets: "aescbc cbc1", "kms", "identity", in this order.

    Neighbours of one kind become one provider with several keys.
    """
    listed: list[Any] = []
    for word in providers:
        kind, _, name = word.partition(" ")
        if name:
            entry = {"name": name, "secret": str(key(lab, name))}
            if listed and kind in listed[-1]:
                listed[-1][kind]["keys"].append(entry)
            else:
                listed.append({kind: {"keys": [entry]}})
        else:
            listed.append({kind: KMS if kind == "kms" else {}})
    return yaml.safe_dump(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [{"resources": ["secrets"], "providers": listed}],
        },
        sort_keys=False,
    )


def write(lab: LabContext, name: str, **more: str) -> None:
    """Make or change the Secret `name`; its password is `lab.secret(name)`."""
    lab.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": {"password": lab.secret(name), **more},
        }
    )


def rewrite_all(lab: LabContext) -> None:
    """Read every Secret of the cluster and write it again, as Kubernetes' own manual says."""

    def once() -> bool:
        everything = lab.run("kubectl get secrets --all-namespaces -o json")
        lab.run("kubectl replace -f -", stdin=everything)
        return True

    lab.say("kubectl get secrets --all-namespaces -o json | kubectl replace -f -")
    # Somebody may have changed one of them in between: then the API server refuses ours.
    lab.wait_for("every Secret to be written again", once, timeout=30, transient=(CommandFailed,))


def prefix(lab: LabContext, name: str) -> str:
    """Who wrote a Secret of this lab; "plain" for nobody, "" when there is no Secret."""
    value = raw(lab, name)
    return writer_of(value) or ("plain" if value else "")


def tell(lab: LabContext, *names: str) -> None:
    """Print how the raw values of these Secrets begin."""
    for name in names:
        print(f"{name:8} {readable(raw(lab, name)[:48])}")


def expect_value(lab: LabContext, name: str) -> None:
    """State that the API hands out the password of a Secret of this lab in the clear."""
    found = lab.kube.get("Secret", name) or {}
    value = base64.b64decode((found.get("data") or {}).get("password", "")).decode()
    expect(
        lab.fingerprint(value) == lab.fingerprint(lab.secret(name)),
        f"the API hands out the Secret {name} as ever",
        found="another value" if found else "no such Secret",
    )


def expect_writer(lab: LabContext, wanted: str, what: str) -> None:
    """State who writes Secrets, by the API server's present settings."""
    found = writer(lab.control_plane.current(), "secrets")
    expect(found == wanted, what, found=found or "nobody encrypts Secrets")


@encryption.step(
    "Encrypt at rest",
    minutes=8,
    hints=[
        "First the Secret old (`write(lab, 'old')`), then an EncryptionConfiguration with two "
        "providers, aescbc with a key cbc1 and identity; "
        "`lab.control_plane.set(configuration(lab, 'aescbc cbc1', 'identity'))` writes it and "
        "restarts the API server with it.",
        "Then the Secret new, and look at both: `prefix(lab, 'old')`, `prefix(lab, 'new')`. Keep "
        "in `lab.notes['encrypt']`: old and new, as they are before anything is rewritten.",
        "Then `rewrite_all(lab)`, and into the notes: rewritten, how many Secrets the cluster has "
        "(`len(survey(lab.control_plane, SECRETS))`).",
    ],
)
def encrypt_at_rest(lab: LabContext) -> None:
    """
    By default a Secret lies in **etcd** in the clear, and in every backup of etcd: the first
    thing that you see below is such a value, with the password in it (masked, because this lab
    masks what it knows to be secret; etcd does not).

    The API server can encrypt what it writes to etcd. A file tells it to, the
    **EncryptionConfiguration**: for which resources, by which *providers*, with which keys.
    The **first provider writes; all of them read.** `identity` is the provider that does
    nothing; it stays in the list, so that values which are still plain can be read.

    A new file takes a new process: we restart the API server. (A managed cluster may not let
    you, and has a switch of its own for it.)

    Then look again. A Secret that is *written* now begins with `k8s:enc:aescbc:v1:cbc1:`, the
    name of the provider and of the key, and behind it come a random IV of 16 bytes and the
    ciphertext. But **the old one is as plain as before**: nothing is rewritten by itself. So
    everything is read and written once more. For whoever asks the API, nothing has changed.

    Rewriting does not remove old copies: etcd keeps earlier revisions until it is compacted and
    defragmented, and there are the backups. A password that lay there in the clear should be
    changed.
    """
    # A Secret as every cluster has it: its password is easy to find behind the dots.
    write(lab, "old")
    print(readable(raw(lab, "old"), 2000))

    # A key is 32 random bytes, for example: head -c 32 /dev/urandom | base64
    config = f"""
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - aescbc:
          keys:
            - name: cbc1
              secret: {key(lab, "cbc1")}
      - identity: {{}}
"""
    seconds = lab.control_plane.set(config)
    print(f"The API server was back after {seconds:.0f} seconds.")
    write(lab, "new")
    tell(lab, "old", "new")
    noted: dict[str, Any] = {"old": prefix(lab, "old"), "new": prefix(lab, "new")}

    rewrite_all(lab)
    tell(lab, "old", "new")
    noted["rewritten"] = len(survey(lab.control_plane, SECRETS))
    lab.notes["encrypt"] = noted


@encrypt_at_rest.check
def _(lab: LabContext) -> None:
    noted = lab.notes.get("encrypt", {})
    expect_writer(lab, "aescbc:v1:cbc1", "new Secrets are written by aescbc, with the key cbc1")
    for name in ("old", "new"):
        value = raw(lab, name)
        expect(value, f"there is a Secret {name}")
        expect(
            writer_of(value) == "aescbc:v1:cbc1",
            f"the raw value of {name} begins with k8s:enc:aescbc:v1:cbc1:",
            found=readable(value[:40]),
            hint="rewrite_all(lab): nothing is rewritten by itself",
        )
        expect(
            lab.secret(name).encode() not in value,
            "and the password is not in it any more",
        )
        expect_value(lab, name)
    expect(
        noted.get("old") == "plain" and noted.get("new") == "aescbc:v1:cbc1",
        "before it was rewritten the old Secret was still plain, beside the new one",
        found=noted or "no lab.notes['encrypt']",
        hint=f"prefix(lab, 'old') before rewrite_all; the key is {etcd_key(lab, 'old')}",
    )
    plain = [name for name, wrote in survey(lab.control_plane, SECRETS).items() if not wrote]
    expect(not plain, "no Secret of any namespace is plain any more", found=plain)
    expect(noted.get("rewritten", 0) >= 2, "how many were rewritten was noted", found=noted)
