"""Steps 22 and 23: a Vault is off, the operator is restarted: what changed, and what did not."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext, Object
from labs.lab04_operator.database import expect_working, leased
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    condition,
    events_of,
    is_synced,
    kv,
    manager_pod,
    same,
    secret,
    soon,
    status,
    written_at,
)
from labs.lab04_operator.orders import lease_of, leases, users
from labs.lab04_operator.two_vaults import paid, second_vault


@operator.step(
    "A Vault is away",
    minutes=8,
    goals=[
        "while the second Vault was off the resource said whom it could not reach",
        "when it was back the resource said that it is sealed",
        "meanwhile nobody wrote the Secret pay-jwt",
        "meanwhile a change in the first Vault arrived",
        "what changed in the second one arrived after it was unsealed",
    ],
    answer="Yes: it needs the Secret, and the Secret is still there. It is only not refreshed.",
    hints=[
        "`kubectl events --for vaultstaticsecret/pay-jwt` shows what the operator was told. "
        "`docker ps -a` shows the container of the second Vault.",
        "A Vault that has been started is sealed. The key to unseal it is in the variable "
        "SECOND_VAULT_KEY.",
        "docker stop; docker start; second write sys/unseal key=-",
    ],
)
def vault_is_away(lab: LabContext) -> None:
    """
    You stop the second Vault. *Before you run the cell: a pod that uses the Secret `pay-jwt`
    starts while its Vault is off. Does it start?*

    It does. The last copy stays, and pods start with it as before. The resource says that it is
    not in sync, and why. The operator tries again, with longer and longer pauses. Secrets of
    the *other* Vault go on. That is the good side of a copy. The other side: a secret that
    somebody revokes in Vault meanwhile stays in use.

    Then you start it. A Vault that starts is **sealed**: it answers, and gives nothing. (On
    clusters **auto-unseal** is usual: a KMS of the cloud, or another Vault, holds the key. Ours
    is unsealed by hand, so that you see it.) The operator says that, too.

    Look at `Healthy` to learn whether all is well again. `SecretSynced` tells of the last
    write: where nothing has changed there is none, and it stays False.
    """
    lab.sh(r"""
head -c 12 /dev/urandom | base64 | tr -d '\n' |
  vault kv put -mount=$NAMESPACE-kv shop/steady password=-
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata:
  name: steady
spec:
  vaultAuthRef: shop  #? this secret comes from the first Vault
  type: kv-v2
  mount: $NAMESPACE-kv
  path: shop/steady
  refreshAfter: 5s
  destination:
    name: steady
    create: true
""")
    lab.sh(
        r"""
kubectl wait vaultstaticsecret/steady --for=condition=SecretSynced --timeout=60s
docker stop $SECOND_VAULT  #?(stop) the second Vault goes off
kubectl wait vaultstaticsecret/pay-jwt --for=condition=Healthy=false --timeout=120s
until kubectl get vaultstaticsecret pay-jwt -o jsonpath='{.status.conditions[*].message}' |
  grep 'Get "https://second-vault.vault.svc'; do sleep 1; done
kubectl describe secret pay-jwt
head -c 12 /dev/urandom | base64 | tr -d '\n' |
  vault kv put -mount=$NAMESPACE-kv shop/steady password=-
until (( $(kubectl get secret steady -o jsonpath='{.data._raw}' | base64 -d |
  grep -c '"version":2') )); do sleep 1; done
kubectl get vaultstaticsecret pay-jwt steady
""",
        timeout=240,
    )
    lab.sh(
        """
docker start $SECOND_VAULT  #?(start) and on again
until kubectl get vaultstaticsecret pay-jwt -o jsonpath='{.status.conditions[*].message}' |
  grep 'Vault is sealed'; do sleep 1; done
kubectl events --for vaultstaticsecret/pay-jwt
""",
        timeout=180,
    )
    lab.sh(
        r"""
second() {
  VAULT_ADDR=$SECOND_VAULT_ADDR VAULT_CACERT=$SECOND_VAULT_CACERT \
    VAULT_TOKEN=$SECOND_VAULT_TOKEN vault "$@"
}
printf %s "$SECOND_VAULT_KEY" | second write sys/unseal key=-  #?(sys/unseal) what opens it?
head -c 12 /dev/urandom | base64 | tr -d '\n' |
  second kv put -mount=$NAMESPACE-pay shop password=-
until kubectl get secret pay-jwt -o jsonpath='{.data._raw}' | base64 -d |
  grep -q '"version":2'; do sleep 1; done
kubectl wait vaultstaticsecret/pay-jwt --for=condition=Healthy --timeout=60s
kubectl get vaultstaticsecret pay-jwt steady
""",
        timeout=180,
    )


@vault_is_away.check
def _(lab: LabContext) -> None:
    events = events_of(lab, "VaultStaticSecret", "pay-jwt")
    trouble = [event for event in events if event.get("type") == "Warning"]
    sealed = [event for event in trouble if "sealed" in event["message"]]
    away = [event for event in trouble if event not in sealed]
    host = second_vault(lab).pod_addr
    expect(
        any(host in event["message"] for event in away),
        "while the second Vault was off the resource said whom it could not reach",
        found=[event["message"] for event in away] or "its events name no trouble",
        hint="events are kept for an hour",
    )
    expect(
        sealed,
        "when it was back the resource said that it is sealed",
        found=[event["message"] for event in trouble][-3:],
    )
    begun, ended = _first(away), max(str(event["lastTimestamp"]) for event in trouble)
    between = [
        event["lastTimestamp"]
        for event in events
        if event.get("reason") in ("SecretSynced", "SecretRotated")
        and begun < str(event["lastTimestamp"]) < ended
    ]
    expect(not between, "meanwhile nobody wrote the Secret pay-jwt", found=between)
    old, new = (kv(lab, "shop/steady", version).get("password", "") for version in (1, 0))
    arrived = written_at(secret(lab, "steady"))
    expect(
        old and new and old != new and same(lab, "steady", new) and begun <= arrived <= ended,
        "meanwhile a change in the first Vault arrived",
        found=f"the outage from {begun} to {ended}, the Secret steady written at {arrived}",
    )
    expect(
        paid(lab)
        and paid(lab) != paid(lab, 1)
        and soon(lab, lambda: same(lab, "pay-jwt", paid(lab)))
        and soon(lab, lambda: is_synced(lab, "VaultStaticSecret", "pay-jwt")),
        "what changed in the second one arrived after it was unsealed",
        found=condition(lab, "VaultStaticSecret", "pay-jwt", "SecretSynced"),
    )


def _first(events: list[Object]) -> str:
    return min(str(event.get("firstTimestamp") or event["lastTimestamp"]) for event in events)


@vault_is_away.undo
def _(lab: LabContext) -> None:
    # The second Vault is in no inventory.
    second = second_vault(lab)
    second.start(lab.access.kubeconfig)
    if second.http.get("/v1/sys/seal-status").json()["sealed"]:
        second.unseal()
    first = paid(lab, 1)
    if first and first != paid(lab):
        # As before: one version, so that a second one is the next change.
        metadata = f"/v1/{lab.path('pay')}/metadata/shop"
        second.http.delete(metadata)
        second.http.post(f"/v1/{lab.path('pay')}/data/shop", json={"data": {"password": first}})


@operator.step(
    "Restart the operator",
    minutes=5,
    goals=[
        "another pod of the operator runs now",
        "and looks after the database user",
        "the restart did not write the static Secret app",
        "but the database user is another one: the new process logged in anew",
        "the database has no user of the old log-in any more: nothing was forgotten",
        "and the database knows the application by the present user",
    ],
    hints=[
        "The operator's pod runs in the namespace vault-secrets-operator-system and has the label "
        "`control-plane=controller-manager`.",
        "A Deployment starts another pod when its pod is deleted.",
        "delete pod",
    ],
)
def restart_operator(lab: LabContext) -> None:
    """
    An update of the operator, a node that goes: the operator's pod is replaced. Static secrets
    are compared, found right and left alone: not one write.

    But database users are *replaced*. The new process logs in anew, and a lease belongs to
    the log-in that made it. So with its default settings a restart of the operator is a
    rotation of all dynamic credentials, and restarts the applications that use them.

    That is the default, and not what upstream advises. The operator can keep its log-ins in
    Secrets of its own namespace, encrypted with a key of Vault's **transit** engine. Then a
    restart finds the log-ins again, and the leases go on. In the values of the Helm chart:

    ```yaml
    controller:
      manager:
        clientCache:
          persistenceModel: direct-encrypted
          storageEncryption:
            enabled: true
            mount: kubernetes       # an auth method, for the operator itself
            transitMount: transit
            keyName: vso-client-cache
            kubernetes:
              role: vso-operator    # may encrypt and decrypt with this key
              serviceAccount: vault-secrets-operator-controller-manager
    ```

    The operator of these labs runs with `persistenceModel: none`, which is the default. (The
    stand-in knows no other.)
    """
    lab.sh(
        """
kubectl -n vault-secrets-operator-system get pods
vault list sys/leases/lookup/$NAMESPACE-db/creds/orders
status() { kubectl get vaultdynamicsecret orders -o jsonpath="{.status.$1}"; }
LEASE=$(status secretLease.id)
kubectl -n vault-secrets-operator-system \
  delete pod -l control-plane=controller-manager  #?(delete pod) what ends the process?
until [[ $(status secretLease.id) != $LEASE ]]; do sleep 1; done
kubectl rollout status deployment/orders --timeout=120s
kubectl -n vault-secrets-operator-system get pods
vault list sys/leases/lookup/$NAMESPACE-db/creds/orders
""",
        timeout=240,
    )
    # The lease of the old log-in ends a moment later.
    lab.sh(
        """
until (( $(vault list -format=json sys/leases/lookup/$NAMESPACE-db/creds/orders |
  grep -c '"') == 1 )); do sleep 1; done
vault list sys/leases/lookup/$NAMESPACE-db/creds/orders
kubectl exec deployment/orders -- curl -s http://orders:8080/
""",
        timeout=180,
    )


@restart_operator.check
def _(lab: LabContext) -> None:
    path = lab.path("db", "creds", "orders")
    since = leased(lab, restart_operator.number, path)
    metadata = manager_pod(lab).get("metadata") or {}
    expect(since and metadata, "another pod of the operator runs now", found=metadata.get("name"))
    expect(
        soon(
            lab,
            lambda: (
                status(lab, "VaultDynamicSecret", "orders").get("lastRuntimePodUID")
                == metadata["uid"]
            ),
        ),
        "and looks after the database user",
        found=status(lab, "VaultDynamicSecret", "orders").get("lastRuntimePodUID"),
    )
    written = written_at(secret(lab, "app"))
    expect(
        written and written < metadata["creationTimestamp"],
        "the restart did not write the static Secret app",
        found=f"the Secret was written at {written}, the pod made at "
        f"{metadata['creationTimestamp']}",
    )
    expect(
        lease_of(lab, "orders") in since,
        "but the database user is another one: the new process logged in anew",
        found=since,
    )
    expect(
        soon(lab, lambda: len(users(lab)) == len(leases(lab)) == 1),
        "the database has no user of the old log-in any more: nothing was forgotten",
        found=users(lab),
    )
    expect_working(lab)
