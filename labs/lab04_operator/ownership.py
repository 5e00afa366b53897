"""Step 4: whose Secret is it? Existing, created, taken over, and what is refused."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    complaint,
    custom,
    plain_secret,
    refused,
    same,
    secret,
    static_secret,
    status,
    values,
    wait_synced,
)


@operator.step(
    "Whose Secret is it?",
    hints=[
        "KV version 1 at `lab04-old` with a secret `legacy`. A Secret `legacy` made by hand "
        "(`lab.secret('by-hand')`, label team: shop), and a VaultStaticSecret `legacy`: kv-v1, "
        "create false, hmacSecretData false. `static_secret(lab, name, path, field=value)` builds "
        "one.",
        "A Secret `taken` made by hand, and a VaultStaticSecret `taken` with create: true. Read "
        "its SecretSyncError event (`complaint`), keep it in `lab.notes['not-the-owner']`. Then "
        "apply it again with overwrite: true.",
        "A second resource `thief` with destination taken, create and overwrite: what it is told "
        "goes to `lab.notes['thief']` (`refused` takes it away again).",
    ],
)
def ownership(lab: LabContext) -> None:
    """
    The destination may be there already. Three rules decide:

    - `create: false` (the default): the Secret must exist, and only its **data** are
      replaced. Labels stay, nobody becomes its owner. If it is missing, the operator waits,
      without a word.
    - `create: true`: the operator owns the Secret, from its labels to its end. One that
      somebody else made is **refused**: it may be in use.
    - `create: true` with `overwrite: true`: that one is taken over. But not even then one
      that belongs to *another* custom resource.

    The old secret here comes from a KV engine of version 1, which keeps no past; the
    resource says `kv-v1`. With `hmacSecretData: false` the operator compares nothing: it
    writes at every pass, and it will never restart anybody.
    """
    old = lab.path("old")
    lab.http.post(f"/v1/sys/mounts/{old}", json={"type": "kv", "options": {"version": "1"}})
    lab.http.post(f"/v1/{old}/legacy", json={"password": lab.secret("legacy")})

    # create: false: a Secret that was there stays somebody else's.
    by_hand = {"password": lab.secret("by-hand")}
    made = plain_secret(lab, "legacy", by_hand, labels={"team": "shop"})
    lab.kube.apply(made)
    lab.kube.apply(
        static_secret(
            lab,
            "legacy",
            "legacy",
            mount=old,
            type="kv-v1",
            hmacSecretData=False,
            destination={"name": "legacy"},
        )
    )
    wait_synced(lab, "VaultStaticSecret", "legacy")

    # create: true: the same is refused, until we say that it may be overwritten.
    lab.kube.apply(plain_secret(lab, "taken", by_hand))
    lab.kube.apply(static_secret(lab, "taken"))
    lab.notes["not-the-owner"] = lab.wait_for(
        "the operator to refuse a Secret that it did not make",
        lambda: complaint(lab, "VaultStaticSecret", "taken", "SecretSyncError"),
    )
    expect(values(lab, "taken") == by_hand, "the refused Secret was left as it was")
    seize = {"name": "taken", "create": True, "overwrite": True}
    lab.kube.apply(static_secret(lab, "taken", destination=seize))
    wait_synced(lab, "VaultStaticSecret", "taken")

    # Not even with overwrite from another custom resource.
    thief = static_secret(lab, "thief", destination=seize)
    lab.notes["thief"] = refused(lab, thief, "SecretSyncError")


@ownership.check
def _(lab: LabContext) -> None:
    legacy = secret(lab, "legacy")
    expect(legacy, "there is a Secret legacy")
    expect(
        same(lab, "legacy", lab.secret("legacy")),
        "its password is what KV version 1 holds at lab04-old/legacy",
        found=lab.kube.events("legacy")[-3:],
    )
    metadata = legacy["metadata"]
    labels = metadata.get("labels") or {}
    expect(labels.get("team") == "shop", "its own label is still there", found=labels)
    expect(
        not metadata.get("ownerReferences")
        and "secrets.hashicorp.com/vso-ownerRefUID" not in labels,
        "create: false made nobody its owner",
        found=metadata.get("ownerReferences") or labels,
    )
    state = status(lab, "VaultStaticSecret", "legacy")
    expect(
        state and not state.get("secretMAC"),
        "without hmacSecretData its status has no HMAC",
        found=sorted(state),
    )
    expect(
        "not the owner of the destination Secret" in lab.notes.get("not-the-owner", ""),
        "a Secret that somebody else had made was refused first",
        found=lab.notes.get("not-the-owner") or "no lab.notes['not-the-owner']",
    )
    resource = custom(lab, "VaultStaticSecret", "taken")
    expect(resource, "there is a VaultStaticSecret taken")
    expect(
        resource["spec"]["destination"].get("overwrite") is True,
        "it may overwrite",
        found=resource["spec"]["destination"],
    )
    owners = (secret(lab, "taken").get("metadata") or {}).get("ownerReferences") or []
    expect(
        [owner["uid"] for owner in owners] == [resource["metadata"]["uid"]],
        "now the Secret taken is its own",
        found=owners,
    )
    expect(
        set(values(lab, "taken")) == {"username", "password", "_raw"},
        "and holds Vault's data, nothing of what was there",
        found=sorted(values(lab, "taken")),
    )
    expect(
        "not the owner" in lab.notes.get("thief", "")
        and not custom(lab, "VaultStaticSecret", "thief"),
        "another custom resource could not take it away, overwrite or not",
        found=lab.notes.get("thief") or "no lab.notes['thief']",
    )
