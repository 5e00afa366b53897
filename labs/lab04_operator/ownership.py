"""Steps 7 and 8: whose Secret is it? One that is there is filled, another is taken over."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    custom,
    encoded,
    is_synced,
    same,
    secret,
    soon,
    status,
    values,
)
from labs.lab04_operator.refusals import expect_refused

BY_HAND = {"password": "made-by-hand"}


@operator.step(
    "Fill a Secret that is already there",
    minutes=5,
    further=True,
    goals=[
        "there is a Secret legacy",
        "its password is what KV version 1 holds at lab04-old/legacy",
        "its own label is still there",
        "create: false made nobody its owner",
        "without hmacSecretData its status has no HMAC",
    ],
    hints=[
        "`kubectl explain vaultstaticsecret.spec.destination` and `kubectl explain "
        "vaultstaticsecret.spec.hmacSecretData`.",
        "An engine of version 1 has the type `kv-v1`. `create` is false when you say nothing.",
        "type: kv-v1; create: false; hmacSecretData: false.",
    ],
)
def fill_a_secret(lab: LabContext) -> None:
    """
    Your cluster is full of Secrets already, and programs that use them. With `create: false`
    (the default) the operator only replaces the **data** of a Secret that is there. Its
    labels stay, and nobody becomes its owner. While the Secret is missing the operator waits.

    The secret comes from an old KV engine of **version 1**, which keeps no earlier versions;
    the resource says `kv-v1`.

    With `hmacSecretData: false` the operator compares nothing. It writes at every pass, and it
    never restarts a workload, because it cannot know whether anything has changed.
    """
    lab.sh(r"""
vault secrets enable -path=$NAMESPACE-old -version=1 kv
head -c 12 /dev/urandom | base64 | tr -d '\n' |
  vault kv put -mount=$NAMESPACE-old legacy password=-
kubectl create secret generic legacy --from-literal=password=made-by-hand
kubectl label secret legacy team=shop
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: legacy
spec:
  vaultAuthRef: shop
  type: kv-v1  #? the kind of engine
  mount: $NAMESPACE-old
  path: legacy
  refreshAfter: 5s
  hmacSecretData: false
  destination:
    name: legacy
    create: false  #? may the operator make the Secret?
""")
    lab.sh("""
kubectl wait vaultstaticsecret/legacy --for=condition=SecretSynced --timeout=60s
kubectl describe secret legacy
""")


@fill_a_secret.check
def _(lab: LabContext) -> None:
    legacy = secret(lab, "legacy")
    expect(legacy, "there is a Secret legacy")
    address = f"/v1/{lab.path('old', 'legacy')}"
    stored = (lab.http.get(address, allow={403, 404}).json().get("data") or {}).get("password", "")
    expect(
        stored and soon(lab, lambda: same(lab, "legacy", stored)),
        f"its password is what KV version 1 holds at {lab.path('old')}/legacy",
        found=lab.kube.events("legacy")[-3:],
    )
    metadata = secret(lab, "legacy")["metadata"]
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


@operator.step(
    "Whose Secret is it?",
    minutes=6,
    goals=[
        "untouched is refused: not the owner of the destination Secret",
        "the Secret by-hand is as it was made by hand",
        "there is a VaultStaticSecret taken",
        "now the Secret taken is its own",
        "and holds Vault's data, nothing of what was there",
        "thief is refused: not the owner of the destination Secret",
    ],
    answer="Only `taken`. `untouched` is refused because somebody else made the Secret, `thief` "
    "because another resource owns it.",
    hints=[
        "`kubectl explain vaultstaticsecret.spec.destination.overwrite`. The events of the three "
        "resources say which one was refused.",
        "`untouched` must not say `overwrite`, `taken` must. `thief` names the destination of "
        "`taken`.",
        "overwrite: true; name: taken.",
    ],
)
def whose_secret(lab: LabContext) -> None:
    """
    With `create: true` the operator owns the Secret, from its labels to its end. Two rules
    protect Secrets that others own:

    - one that somebody else has made is **refused**, because a program may be using it. Only
      `overwrite: true` takes it over;
    - one that belongs to *another* custom resource is refused, `overwrite` or not.

    *Before you run the cell: three resources, two Secrets made by hand. Which of the three will
    be synced?*
    """
    lab.sh("""
kubectl create secret generic by-hand --from-literal=password=made-by-hand
kubectl create secret generic taken --from-literal=password=made-by-hand
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: untouched
spec:
  vaultAuthRef: shop
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/app
  destination:
    name: by-hand
    create: true
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: taken
spec:
  vaultAuthRef: shop
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/app
  destination:
    name: taken
    create: true
    overwrite: true  #? may the operator take the Secret over?
""")
    lab.sh("kubectl wait vaultstaticsecret/taken --for=condition=SecretSynced --timeout=60s")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: thief
spec:
  vaultAuthRef: shop
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/app
  destination:
    name: taken  #? the Secret that belongs to another resource now
    create: true
    overwrite: true
""")
    lab.sh("""
until kubectl events --for vaultstaticsecret/untouched 2>/dev/null |
  grep SecretSyncError; do sleep 1; done
until kubectl events --for vaultstaticsecret/thief 2>/dev/null |
  grep SecretSyncError; do sleep 1; done
kubectl describe secret taken
""")


@whose_secret.check
def _(lab: LabContext) -> None:
    kind, told = "VaultStaticSecret", "SecretSyncError"
    refusal = "not the owner of the destination Secret"
    expect_refused(lab, kind, "untouched", told, refusal)
    expect(
        secret(lab, "by-hand").get("data") == encoded(BY_HAND),
        "the Secret by-hand is as it was made by hand",
        found=sorted(secret(lab, "by-hand").get("data") or {}),
    )
    resource = custom(lab, kind, "taken")
    expect(resource, "there is a VaultStaticSecret taken")
    expect(
        soon(lab, lambda: is_synced(lab, kind, "taken")),
        "it is synced",
        found=lab.kube.events("taken")[-3:],
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
    expect_refused(lab, kind, "thief", told, refusal)
