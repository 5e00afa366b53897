"""Step 3: a secret of Vault becomes a Secret of Kubernetes."""

from __future__ import annotations

import json

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    condition,
    custom,
    is_synced,
    kv,
    reads_of,
    same,
    secret,
    soon,
    status,
    values,
)
from labs.lab04_operator.way_in import way_in

# What the operator writes on every Secret that is its own (interfaces.md, section 3.3).
OWNER_LABELS = {
    "app.kubernetes.io/managed-by": "hashicorp-vso",
    "app.kubernetes.io/name": "vault-secrets-operator",
    "app.kubernetes.io/component": "secret-sync",
}


@operator.step(
    "A secret becomes a Secret",
    minutes=6,
    goals=[
        "there is a VaultStaticSecret app",
        "the operator reports it as synced",
        "the Secret app has the fields of the secret, and _raw",
        "its password is the one in Vault (compared by SHA-256)",
        "_raw holds the whole answer: data and metadata with the version",
        "its labels say that the operator made it",
        "its only owner is the VaultStaticSecret",
        "Vault's audit log names the service account shop as the reader, nobody else",
    ],
    answer="Three: one for each field, and `_raw` with the whole answer of Vault.",
    hints=[
        "`kubectl explain vaultstaticsecret.spec` describes each field; `kubectl describe "
        "vaultstaticsecret app` shows conditions and events.",
        "`path` is the name of the secret as `vault kv get` takes it: the operator puts `data/` "
        "in front of it. Without `create: true` the Secret must be there already.",
        "vaultAuthRef: shop; type: kv-v2; path: shop/app; create: true.",
    ],
)
def first_secret(lab: LabContext) -> None:
    """
    A **VaultStaticSecret** names a secret in Vault and a **destination**: the Kubernetes
    Secret that it becomes. The operator reads Vault again every `refreshAfter`. A minute is
    the default; here it is five seconds, because you are waiting.

    *Before you run the cell: Vault's secret has two fields. How many keys will the Secret have?*

    Each field has become a key, and there is one more: `_raw`, the whole answer of Vault as
    JSON, with its metadata. The labels say which program made the Secret. The **owner
    reference** says for which resource: delete the resource, and the Secret goes, too.

    The status of the resource holds no secret. `secretMAC` is an HMAC of the data. With it the
    operator notices when somebody changes the Secret.
    """
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: app
spec:
  vaultAuthRef: shop  #? how does the operator log in?
  type: kv-v2  #? the kind of engine
  mount: $NAMESPACE-kv
  path: shop/app  #? the name of the secret
  refreshAfter: 5s
  destination:
    name: app
    create: true  #? may the operator make the Secret?
""")
    lab.sh("""
kubectl wait vaultstaticsecret/app --for=condition=SecretSynced --timeout=60s
kubectl get vaultstaticsecret app
kubectl describe secret app
kubectl get vaultstaticsecret app -o yaml
""")


@first_secret.check
def _(lab: LabContext) -> None:
    resource = custom(lab, "VaultStaticSecret", "app")
    expect(resource, "there is a VaultStaticSecret app")
    expect(
        soon(lab, lambda: is_synced(lab, "VaultStaticSecret", "app")),
        "the operator reports it as synced",
        found=condition(lab, "VaultStaticSecret", "app", "SecretSynced")
        or lab.kube.events("app")[-3:],
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
