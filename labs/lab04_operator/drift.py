"""Step 11: somebody edits the Secret, somebody deletes it: the operator puts it back."""

from __future__ import annotations

import datetime
import json

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import custom, kv, same, secret, soon, status, values, writes_of


@operator.step(
    "Drift is repaired",
    minutes=5,
    goals=[
        "there is a VaultStaticSecret guarded",
        "the Secret holds what Vault holds, whoever edited it",
        "the operator wrote it three times: at first, after the edit, after the deletion",
        "it is not the Secret that was made first: that one was deleted",
        "Vault's secret is older than all of this: its data never changed",
        "its only owner is still the VaultStaticSecret",
    ],
    hints=[
        "`kubectl patch secret guarded -p ...` edits it; `kubectl events --for "
        "vaultstaticsecret/guarded` shows when the operator wrote.",
        "Two things happen to it: an edit, which the next pass repairs, and then a deletion.",
        "path: shop/app; kubectl patch secret guarded; kubectl delete secret guarded.",
    ],
)
def repair_drift(lab: LabContext) -> None:
    """
    A Secret is easily edited: by `kubectl edit`, by a script, by somebody at night. Then the
    cluster says one thing and Vault another. At every pass the operator compares the HMAC in
    its status with Vault's data **and** with what the Secret holds now. When either differs it
    writes the Secret again.

    - **Edited**: repaired at the next pass, within `refreshAfter`.
    - **Deleted**: made anew at once, because the operator watches its own Secrets.

    Whoever edits the Secret gets no error, only the old value back. The place to change it is
    Vault.
    """
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: guarded
spec:
  vaultAuthRef: shop
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/app  #? the secret of step 1
  refreshAfter: 5s
  destination:
    name: guarded
    create: true
""")
    lab.sh("""
kubectl wait vaultstaticsecret/guarded --for=condition=SecretSynced --timeout=60s
kubectl patch secret guarded -p '{"stringData": {"password": "edited-at-night"}}'  #?(patch) an edit
until kubectl get secret guarded -o jsonpath='{.data.password}' | base64 -d |
  grep -vx edited-at-night >/dev/null; do sleep 1; done
kubectl events --for vaultstaticsecret/guarded
""")
    lab.sh("""
kubectl get secret guarded -o jsonpath='{.metadata.uid}{"\\n"}'
kubectl delete secret guarded  #?(delete) and now it goes as a whole
kubectl wait --for=create secret/guarded --timeout=60s
kubectl get secret guarded -o jsonpath='{.metadata.uid}{"\\n"}'
kubectl events --for vaultstaticsecret/guarded
""")


@repair_drift.check
def _(lab: LabContext) -> None:
    resource = custom(lab, "VaultStaticSecret", "guarded")
    expect(resource, "there is a VaultStaticSecret guarded")
    expect(
        soon(lab, lambda: same(lab, "guarded", kv(lab, "shop/app")["password"])),
        "the Secret holds what Vault holds, whoever edited it",
        hint="the next pass comes within five seconds",
    )
    expect(
        soon(lab, lambda: writes_of(lab, "VaultStaticSecret", "guarded") >= 3),
        "the operator wrote it three times: at first, after the edit, after the deletion",
        found=lab.kube.events("guarded"),
        hint="its events say so for an hour",
    )
    metadata = secret(lab, "guarded")["metadata"]
    made, born = (
        datetime.datetime.fromisoformat(found["creationTimestamp"])
        for found in (resource["metadata"], metadata)
    )
    expect(
        born > made + datetime.timedelta(seconds=1),
        "it is not the Secret that was made first: that one was deleted",
        found=f"resource {made}, Secret {born}",
    )
    raw = json.loads(values(lab, "guarded")["_raw"])["metadata"]
    expect(
        datetime.datetime.fromisoformat(raw["created_time"]) < made
        and status(lab, "VaultStaticSecret", "guarded").get("secretMAC"),
        "Vault's secret is older than all of this: its data never changed",
        found=raw["created_time"],
    )
    owners = [owner["uid"] for owner in metadata.get("ownerReferences") or []]
    expect(
        owners == [resource["metadata"]["uid"]],
        "its only owner is still the VaultStaticSecret",
        found=owners,
    )
