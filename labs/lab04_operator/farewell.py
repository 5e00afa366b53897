"""Step 9: a team leaves: everything goes, and the database refuses afterwards."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.pods import service_account
from labs.lab04_operator.connect import vault_trust
from labs.lab04_operator.database import lease_of, leases, log_in
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import values, wait_synced


def leaving(lab: LabContext) -> str:
    """The namespace that will be deleted."""
    return lab.path("leaving")


@operator.step(
    "Leave, and take the credentials along",
    hints=[
        "A namespace lab04-leaving with all of its own: service account `shop`, Secret `vault-ca`, "
        "VaultConnection, VaultAuth, a VaultStaticSecret and a VaultDynamicSecret `orders` "
        "(lab04-db, creds/orders).",
        "Keep user and lease in `lab.notes['leaving']` as {user, lease, before, after}: before and "
        "after are what `log_in(lab, user, password)` says, the password stays in a variable.",
        "`kubectl delete namespace lab04-leaving`, and wait until it is gone and the lease is "
        "not in `leases(lab)` any more.",
    ],
)
def let_go(lab: LabContext) -> None:
    """
    Credentials must end when their user does. A namespace with everything in it, a database
    user among it, is deleted as a whole, as it happens at the end of a project.

    The custom resource has a **finalizer**: Kubernetes waits until the operator has revoked
    the lease. But a small race is run. Kubernetes deletes in any order, and the VaultAuth may
    be gone before the VaultDynamicSecret that needs it. HashiCorp's operator then tries for
    half a minute, gives up, and the lease lives until its **TTL** is over: a minute here, and
    what you chose in production. (The stand-in of these labs keeps its log-in for that.) So
    choose TTLs that you can live with, or delete the VaultDynamicSecrets first. And had the
    *operator* been removed first, nobody would take the finalizers away and the namespace
    would hang in `Terminating`: first the resources, then the operator.

    When the namespace is gone the user is gone from the **database**: whoever kept the
    password, on a laptop or in a backup, has nothing.
    """
    lab.kube.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {leaving(lab)}}}}}")
    lab.kube.apply(service_account("shop", leaving(lab)))
    trusted = lab.access.vault_ca.read_text()
    lab.kube.apply(vault_trust(lab, "vault-ca", trusted, leaving(lab)))
    everything = f"""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultConnection
metadata: {{name: vault}}
spec: {{address: {lab.access.vault_pod_addr}, caCertSecretRef: vault-ca}}
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultAuth
metadata: {{name: shop}}
spec:
  vaultConnectionRef: vault
  method: kubernetes
  mount: {lab.path("kubernetes")}
  kubernetes: {{role: shop, serviceAccount: shop, audiences: [vault]}}
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata: {{name: app}}
spec:
  vaultAuthRef: shop
  type: kv-v2
  mount: {lab.path("kv")}
  path: shop/app
  destination: {{name: app, create: true}}
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultDynamicSecret
metadata: {{name: orders}}
spec:
  vaultAuthRef: shop
  mount: {lab.path("db")}
  path: creds/orders
  destination: {{name: orders, create: true}}
"""
    lab.kube.apply(everything, leaving(lab))
    wait_synced(lab, "VaultStaticSecret", "app", leaving(lab))
    wait_synced(lab, "VaultDynamicSecret", "orders", leaving(lab))
    kept = values(lab, "orders", leaving(lab))
    lease = lease_of(lab, "orders", leaving(lab)).rpartition("/")[2]
    before = log_in(lab, kept["username"], kept["password"])

    lab.kube.delete("Namespace", leaving(lab))
    lab.wait_for(
        "the namespace to be gone",
        lambda: lab.kube.get("Namespace", leaving(lab)) is None,
        timeout=120,
        explain=lambda: str((lab.kube.get("Namespace", leaving(lab)) or {}).get("status")),
        hint="a finalizer holds it: kubectl get vaultdynamicsecrets,vaultauths -n lab04-leaving",
    )
    lab.wait_for("the lease to end", lambda: lease not in leases(lab), timeout=90)
    after = log_in(lab, kept["username"], kept["password"])
    lab.notes["leaving"] = {
        "user": kept["username"],
        "lease": lease,
        "before": before,
        "after": after,
    }


@let_go.check
def _(lab: LabContext) -> None:
    noted = lab.notes.get("leaving", {})
    expect(
        noted.get("user") and noted.get("lease"),
        "there was a database user of the namespace lab04-leaving",
        found=noted or "no lab.notes['leaving']",
    )
    expect(not noted["before"], "while it lived the database let the user in", found=noted)
    expect(
        lab.kube.get("Namespace", leaving(lab)) is None,
        "the namespace is gone: no finalizer holds it",
    )
    expect(noted["lease"] not in leases(lab), "Vault keeps no lease for it")
    gone = not lab.orders.exists(noted["user"])
    expect(gone, "the database has no such user any more", found=noted["user"])
    expect(
        "authentication failed" in noted["after"],
        "and refused whoever kept the password",
        found=noted["after"] or "it was let in",
    )
    expect(
        len(leases(lab)) >= 1,
        "the shop's own user, of step 8, is still there",
        found=leases(lab),
    )
