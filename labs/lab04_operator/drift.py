"""Step 6: somebody edits the Secret, somebody deletes it: the operator puts it back."""

from __future__ import annotations

import json

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    custom,
    kv,
    same,
    secret,
    static_secret,
    status,
    wait_synced,
    wait_value,
)


@operator.step(
    "Drift is repaired",
    hints=[
        "`static_secret(lab, 'guarded')` is a VaultStaticSecret from shop/app. Keep the uid of its "
        "Secret and `status.secretMAC` in `lab.notes['guarded']` as {uid, mac}.",
        "`kubectl patch secret guarded` with another password; wait for the right one. Then "
        "`kubectl delete secret guarded`; wait until there is one with another uid.",
    ],
)
def repair_drift(lab: LabContext) -> None:
    """
    A Secret is easily edited: `kubectl edit`, a script, somebody at night. Then the cluster
    says one thing and Vault another. The operator compares the HMAC in its status with
    Vault's data **and** with what the Secret holds now, at every pass; a difference on either
    side means writing again.

    - **Edited**: repaired at the next pass, within `refreshAfter`.
    - **Deleted**: made anew at once; the operator watches its own Secrets go.

    The HMAC stays the same all the while, since Vault's data did. Who edits a Secret gets
    no error, only his old value back; the place to change it is Vault.
    """
    lab.kube.apply(static_secret(lab, "guarded"))
    wait_synced(lab, "VaultStaticSecret", "guarded")
    first = secret(lab, "guarded")["metadata"]["uid"]
    mac = status(lab, "VaultStaticSecret", "guarded")["secretMAC"]

    # Somebody edits it.
    edited = {"stringData": {"password": lab.secret("edited")}}
    # By standard input: every user of a machine can read the arguments of a running command.
    lab.run(
        f"kubectl -n {lab.namespace} patch secret guarded --type merge --patch-file /dev/stdin",
        stdin=json.dumps(edited),
    )
    wait_value(lab, "guarded", kv(lab, "shop/app")["password"])
    expect(secret(lab, "guarded")["metadata"]["uid"] == first, "it was repaired in place")

    # Somebody deletes it.
    lab.run(f"kubectl -n {lab.namespace} delete secret guarded")
    lab.wait_for(
        "the Secret to be made anew",
        lambda: (secret(lab, "guarded").get("metadata") or {}).get("uid") not in (None, first),
    )
    lab.notes["guarded"] = {"uid": first, "mac": mac}


@repair_drift.check
def _(lab: LabContext) -> None:
    resource = custom(lab, "VaultStaticSecret", "guarded")
    expect(resource, "there is a VaultStaticSecret guarded")
    metadata = secret(lab, "guarded").get("metadata") or {}
    expect(metadata, "and its Secret")
    expect(
        same(lab, "guarded", kv(lab, "shop/app")["password"]),
        "the Secret holds what Vault holds, whoever edited it",
        hint="the next pass comes within five seconds",
    )
    noted = lab.notes.get("guarded", {})
    expect(
        noted.get("uid") and metadata["uid"] != noted["uid"],
        "it is not the Secret that was made first: that one was deleted",
        found=noted or "no lab.notes['guarded']",
    )
    writes = [entry for entry in lab.kube.events("guarded") if entry.startswith("SecretSynced:")]
    expect(writes, "the operator's events tell of its writes", found=writes)
    expect(
        status(lab, "VaultStaticSecret", "guarded").get("secretMAC") == noted.get("mac"),
        "the HMAC in the status is the one from before: Vault's data never changed",
    )
    owners = [owner["uid"] for owner in metadata.get("ownerReferences") or []]
    expect(owners == [resource["metadata"]["uid"]], "and its owner is the same", found=owners)
