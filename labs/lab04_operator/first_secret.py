"""Step 2: a secret of Vault becomes a Secret of Kubernetes."""

from __future__ import annotations

import json

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab04_operator.connect import way_in
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    condition,
    custom,
    kv,
    reads_of,
    same,
    secret,
    status,
    values,
    wait_synced,
)

# What the operator writes on every Secret that is its own (interfaces.md, section 3.3).
OWNER_LABELS = {
    "app.kubernetes.io/managed-by": "hashicorp-vso",
    "app.kubernetes.io/name": "vault-secrets-operator",
    "app.kubernetes.io/component": "secret-sync",
}


@operator.step(
    "A secret becomes a Secret",
    hints=[
        "A VaultStaticSecret `app`: vaultAuthRef, type kv-v2, mount, path (without `data/`: the "
        "operator adds it), refreshAfter 5s, destination {name: app, create: true}.",
        "`kubectl -n lab04 describe vaultstaticsecret app` shows conditions and events.",
    ],
)
def first_secret(lab: LabContext) -> None:
    """
    A **VaultStaticSecret** names a KV secret and a **destination**: the Kubernetes Secret
    that it shall become. The operator reads Vault again every `refreshAfter` (a minute, if
    you say nothing; five seconds here, because you are waiting).

    Look at the Secret that comes out. Each field has become a key, and there is one more:
    `_raw`, the whole answer of Vault as JSON, with the metadata. The labels say who made it,
    and the **owner reference** says for which resource: delete that, and the Secret goes.

    The status of the resource holds no secret. `secretMAC` is an HMAC of the data: how the
    operator notices that somebody changed the Secret.
    """
    lab.kube.apply(f"""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata: {{name: app}}
spec:
  vaultAuthRef: shop
  type: kv-v2
  mount: {lab.path("kv")}
  path: shop/app
  refreshAfter: 5s
  destination: {{name: app, create: true}}
""")
    wait_synced(lab, "VaultStaticSecret", "app")
    print(lab.run(f"kubectl -n {lab.namespace} get vaultstaticsecret app"))


@first_secret.check
def _(lab: LabContext) -> None:
    resource = custom(lab, "VaultStaticSecret", "app")
    expect(resource, "there is a VaultStaticSecret app")
    synced = condition(lab, "VaultStaticSecret", "app", "SecretSynced")
    expect(
        synced.get("status") == "True",
        "the operator reports it as synced",
        found=synced or lab.kube.events("app")[-3:],
        hint=f"kubectl -n {lab.namespace} describe vaultstaticsecret app",
    )
    expect(
        set(values(lab, "app")) == {"username", "password", "_raw"},
        "the Secret app has the fields of the secret, and _raw",
        found=sorted(values(lab, "app")),
    )
    expect(
        same(lab, "app", kv(lab, "shop/app")["password"]),
        "its password is the one in Vault (compared by SHA-256)",
    )
    raw = json.loads(values(lab, "app")["_raw"])
    expect(
        set(raw) == {"data", "metadata"} and raw["metadata"]["version"] >= 1,
        "_raw holds the whole answer: data and metadata with the version",
        found=sorted(raw),
    )
    metadata = secret(lab, "app")["metadata"]
    uid = resource["metadata"]["uid"]
    wanted = OWNER_LABELS | {"secrets.hashicorp.com/vso-ownerRefUID": uid}
    found = {key: metadata.get("labels", {}).get(key) for key in wanted}
    expect(found == wanted, "its labels say that the operator made it", found=found)
    owners = metadata.get("ownerReferences") or []
    expect(
        [owner["uid"] for owner in owners] == [uid],
        "its only owner is the VaultStaticSecret",
        found=owners,
    )
    state = status(lab, "VaultStaticSecret", "app")
    expect(state.get("secretMAC"), "the status remembers an HMAC of the data")
    expect(
        kv(lab, "shop/app")["password"] not in json.dumps(resource),
        "and no value stands anywhere in the resource",
    )
    readers = reads_of(lab.audit.entries(), lab.path("kv", "data", "shop/app"))
    expect(
        readers == {f"{lab.namespace}/shop"},
        "Vault's audit log names the service account shop as the reader, nobody else",
        found=readers,
    )


@first_secret.diagnosis
def _(lab: LabContext) -> LoginPath:
    return way_in(lab)
