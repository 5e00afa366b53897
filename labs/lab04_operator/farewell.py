"""Step 17: a team leaves: everything goes, and the database refuses afterwards."""

from __future__ import annotations

from harness import expect
from harness.lab.api import Entry, LabContext
from labs.lab04_operator.database import lease_in
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import soon, values
from labs.lab04_operator.orders import leases, log_in, users


def leaving(lab: LabContext) -> str:
    """The namespace that will be deleted."""
    return lab.path("leaving")


def _leased_there(lab: LabContext) -> list[str]:
    """The leases that a consumer of that namespace has got since this step began."""
    answers: list[Entry] = lab.audit.responses(lab.path("db", "creds", "orders"))
    return [
        lease_in(entry).rpartition("/")[2]
        for entry in answers
        if lease_in(entry)
        and ((entry.get("auth") or {}).get("metadata") or {}).get("service_account_namespace")
        == leaving(lab)
    ]


def _tried(lab: LabContext) -> list[str]:
    """What the pod `keeper` was told by the database, a line for each try."""
    with lab.quiet():
        pod = lab.kube.get("Pod", "keeper") or {}
        running = (pod.get("status") or {}).get("phase") == "Running"
        return lab.kube.logs("keeper").splitlines() if running else []


@operator.step(
    "Delete a namespace that holds leases",
    minutes=7,
    goals=[
        "Vault leased a database user to the namespace lab04-leaving",
        "while it lived the database let in whoever had the password",
        "the namespace is gone: no finalizer holds it",
        "Vault keeps no lease for it",
        "the database has no such user any more",
        "and it refuses whoever kept the password",
        "the shop's own user is still there",
    ],
    hints=[
        "`kubectl get namespace lab04-leaving -o yaml` says in its conditions what a deletion "
        "waits for. `kubectl logs keeper | uniq -c` shows what the database said.",
        "The pod `keeper` needs a Secret `kept` with the keys username and password in lab04, "
        "copied from the Secret `orders` in lab04-leaving before that goes.",
        "path: creds/orders; kubectl delete namespace $NAMESPACE-leaving",
    ],
)
def let_go(lab: LabContext) -> None:
    """
    Credentials must end when their user does. A namespace with everything in it, a database
    user among it, is deleted as a whole, as it happens at the end of a project. Somebody has
    kept a copy of the password.

    The custom resource has a **finalizer**: Kubernetes waits until the operator has revoked
    the lease. There is a small race. Kubernetes deletes in any order, and the VaultAuth may
    be gone before the VaultDynamicSecret that needs it. HashiCorp's operator then tries for
    half a minute and gives up, and the lease lives until its **TTL** is over: a minute here,
    and what you chose at work. (The stand-in of these labs keeps its log-in for that.) So
    choose TTLs that you can live with, or delete the VaultDynamicSecrets first.

    And never remove the *operator* first. Then nothing takes the finalizers away, and the
    namespace hangs in `Terminating`. First the resources, then the operator.
    """
    lab.sh("""
kubectl create namespace $NAMESPACE-leaving
kubectl -n $NAMESPACE-leaving create serviceaccount shop
kubectl -n $NAMESPACE-leaving create secret generic vault-ca --from-file=ca.crt=$VAULT_CACERT
""")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultConnection
metadata:
  name: vault
  namespace: $NAMESPACE-leaving
spec:
  address: $VAULT_POD_ADDR
  caCertSecretRef: vault-ca
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata:
  name: shop
  namespace: $NAMESPACE-leaving
spec:
  vaultConnectionRef: vault
  method: kubernetes
  mount: $NAMESPACE-kubernetes
  kubernetes:
    role: shop
    serviceAccount: shop
    audiences: [vault]
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultDynamicSecret
metadata:
  name: orders
  namespace: $NAMESPACE-leaving
spec:
  vaultAuthRef: shop
  mount: $NAMESPACE-db
  path: creds/orders  #? a database user, as in step 14
  destination:
    name: orders
    create: true
""")
    lab.sh(r"""
kubectl -n $NAMESPACE-leaving wait vaultdynamicsecret/orders \
  --for=condition=SecretSynced --timeout=60s
value() { kubectl -n $NAMESPACE-leaving get secret orders -o jsonpath="{.data.$1}" | base64 -d; }
kubectl create secret generic kept \
  --from-file=username=<(value username) --from-file=password=<(value password)
""")
    lab.kubectl_apply(file="manifests/keeper.yaml")
    lab.sh(
        """
until kubectl logs keeper | grep 'let in'; do sleep 1; done
kubectl delete namespace $NAMESPACE-leaving --timeout=120s  #?(namespace) what goes as a whole?
until kubectl logs keeper | grep -m1 refused; do sleep 1; done
kubectl logs keeper | uniq -c
vault list sys/leases/lookup/$NAMESPACE-db/creds/orders
""",
        timeout=400,
    )


@let_go.check
def _(lab: LabContext) -> None:
    leased = _leased_there(lab)
    expect(
        leased,
        f"Vault leased a database user to the namespace {leaving(lab)}",
        found="no answer to it in Vault's audit log since this step began",
    )
    expect(
        "let in" in _tried(lab),
        "while it lived the database let in whoever had the password",
        found=_tried(lab)[-3:] or "no log of a pod keeper",
    )
    expect(
        lab.kube.get("Namespace", leaving(lab)) is None,
        "the namespace is gone: no finalizer holds it",
    )
    expect(
        soon(lab, lambda: not set(leased) & set(leases(lab))),
        "Vault keeps no lease for it",
        found=leases(lab),
    )
    kept = values(lab, "kept")
    expect(
        kept.get("username") and soon(lab, lambda: kept["username"] not in users(lab)),
        "the database has no such user any more",
        found=kept.get("username") or "no Secret kept with a username",
    )
    said = log_in(lab, kept["username"], kept["password"])
    expect(
        "authentication failed" in said and "refused" in _tried(lab)[-1],
        "and it refuses whoever kept the password",
        found=said or "it was let in",
    )
    expect(
        values(lab, "orders").get("username") in users(lab) and leases(lab),
        "the shop's own user is still there",
        found=users(lab),
    )
