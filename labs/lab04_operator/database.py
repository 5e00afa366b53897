"""Steps 14 and 15: database users with a lease, renewed and revoked."""

from __future__ import annotations

from harness import expect
from harness.lab.api import Entry, LabContext
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import (
    API,
    condition,
    custom,
    is_synced,
    manager_pod,
    rolled_out,
    soon,
    status,
    values,
)
from labs.lab04_operator.orders import lease_of, leases, log_in, users


def works_as(lab: LabContext) -> list[str]:
    """The user that the database knows the application by, and its orders; [] without a pod."""
    with lab.quiet():
        pods = [
            pod["metadata"]["name"]
            for pod in lab.kube.list("Pod", selector="app=orders")
            if "deletionTimestamp" not in pod["metadata"]
            and (pod.get("status") or {}).get("phase") == "Running"
        ]
        ask = "curl -s --max-time 5 http://orders:8080/ || true"
        return lab.kube.exec(pods[0], ask).split() if pods else []


def leased(lab: LabContext, number: int, path: str) -> list[str]:
    """The leases that Vault's answers to `path` name, since the step with this number began."""
    return [lease_in(entry) for entry in lab.audit_since(number).responses(path) if lease_in(entry)]


def lease_in(entry: Entry) -> str:
    """The lease that an answer in the audit log names; "" when it has none."""
    secret = (entry.get("response") or {}).get("secret") or {}
    return str(secret.get("lease_id") or "")


def expect_working(lab: LabContext) -> None:
    """State that the application works as the user in the Secret `orders`, and Vault leases it."""
    found = values(lab, "orders")
    expect(
        set(found) == {"username", "password", "_raw"} and len(found["password"]) == 20,
        "the Secret orders has a user name and a password of 20 characters that Vault made",
        found=sorted(found) or lab.kube.events("orders")[-3:],
    )
    user = found["username"]
    expect(
        user.startswith("v-") and "-orders-" in user,
        "the user's name tells the role that it was made by",
        found=user,
    )
    refusal = log_in(lab, user, found["password"])
    expect(not refusal, "the database lets it in", found=refusal)
    lease = lease_of(lab, "orders")
    held = leases(lab)
    expect(
        lease.rpartition("/")[2] in held, "Vault keeps the lease that the status names", found=held
    )
    workload = lab.kube.get("Deployment", "orders") or {}
    expect(rolled_out(workload), "the Deployment orders is rolled out and ready")
    expect(
        soon(lab, lambda: works_as(lab) == [user, "2"]),
        "and the database knows the application by the present user",
        found=works_as(lab),
        hint="rolloutRestartTargets; a restart takes a few seconds",
    )


@operator.step(
    "Database users, renewed",
    minutes=7,
    goals=[
        "there is a VaultDynamicSecret orders",
        "the operator reports it as synced",
        "the Secret orders has a user name and a password of 20 characters that Vault made",
        "the database lets it in",
        "Vault keeps the lease that the status names",
        "and the database knows the application by the present user",
        "Vault's audit log has a renewal of this very lease",
    ],
    answer="The same user and the same password: to renew a lease prolongs its life and changes "
    "nothing else.",
    hints=[
        "`kubectl explain vaultdynamicsecret.spec`. `kubectl events --for "
        "vaultdynamicsecret/orders` shows each renewal.",
        "`path` is what comes behind the mount when you `vault read` the credentials. The "
        "renewal is at a percentage of the lease: ten percent of a minute.",
        "path: creds/orders; renewalPercent: 10; kind: Deployment, name: orders.",
    ],
)
def database_users(lab: LabContext) -> None:
    """
    A **VaultDynamicSecret** asks Vault for credentials that are made for it, and looks after
    their **lease**. It renews the lease in time (`renewalPercent`), so the same user lives on
    and on, up to the role's `max_ttl`.

    The lease here lives a minute and is renewed every few seconds, so that you can watch.

    *Before you run the cell: after a renewal, is it the same user? The same password?*
    """
    lab.kubectl_apply(file="manifests/orders.yaml")
    lab.kubectl_apply("""
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultDynamicSecret
metadata:
  name: orders
spec:
  vaultAuthRef: shop
  mount: $NAMESPACE-db
  path: creds/orders  #? where does Vault hand out credentials of this role?
  renewalPercent: 10  #? at which part of its life is the lease renewed?
  rolloutRestartTargets:
  - kind: Deployment
    name: orders  #? the workload that uses the credentials
  destination:
    name: orders
    create: true
""")
    lab.sh(
        """
kubectl wait vaultdynamicsecret/orders --for=condition=SecretSynced --timeout=60s
kubectl rollout status deployment/orders --timeout=120s
kubectl exec deployment/orders -- curl -s http://orders:8080/
kubectl get vaultdynamicsecret orders -o jsonpath='{.status.secretLease}'
""",
        timeout=400,
    )
    lab.sh("""
status() { kubectl get vaultdynamicsecret orders -o jsonpath="{.status.$1}"; }
BEFORE=$(status lastRenewalTime)
until (( $(status lastRenewalTime) > BEFORE )); do sleep 1; done
vault lease lookup $(status secretLease.id)
""")


@database_users.check
def _(lab: LabContext) -> None:
    resource = custom(lab, "VaultDynamicSecret", "orders")
    expect(resource, "there is a VaultDynamicSecret orders")
    expect(
        soon(lab, lambda: is_synced(lab, "VaultDynamicSecret", "orders")),
        "the operator reports it as synced",
        found=lab.kube.events("orders")[-3:],
    )
    expect_working(lab)
    renewed = leased(lab, database_users.number, "sys/leases/renew")
    expect(
        lease_of(lab, "orders") in renewed,
        "Vault's audit log has a renewal of this very lease",
        found=sorted(set(renewed)),
    )
    state = status(lab, "VaultDynamicSecret", "orders")
    pod = manager_pod(lab).get("metadata", {}).get("uid")
    expect(
        state.get("lastGeneration") == resource["metadata"]["generation"]
        and state.get("lastRenewalTime", 0) > 0
        and pod
        and state.get("lastRuntimePodUID") == pod,
        "the status names the generation, the time of the last renewal and the operator's pod",
        found={key: state.get(key) for key in ("lastGeneration", "lastRuntimePodUID")},
    )


@database_users.undo
def _(lab: LabContext) -> None:
    let_go_of(lab, "orders")


def let_go_of(lab: LabContext, name: str) -> None:
    """Delete a VaultDynamicSecret first, or it would ask for another user meanwhile."""
    if custom(lab, "VaultDynamicSecret", name):
        lab.kube.delete("VaultDynamicSecret", name, api_version=API)


@operator.step(
    "An incident: revoke the lease",
    minutes=4,
    goals=[
        "since this step began Vault has made another user",
        "the first lease is gone from Vault",
        "the database has no other user of this role: the revoked one is gone",
        "the database lets it in",
        "and the database knows the application by the present user",
        "it was restarted by the operator",
    ],
    hints=[
        "`vault lease -help`. The status of the VaultDynamicSecret names its lease.",
        "`kubectl get vaultdynamicsecret orders -o jsonpath='{.status.secretLease.id}'`",
        "vault lease revoke -sync $LEASE",
    ],
)
def revoke_the_lease(lab: LabContext) -> None:
    """
    A password has leaked. With a password that somebody once typed in, the work begins now:
    who uses it, who changes it, when does it hurt least? With a lease it is one command.

    When a lease cannot be renewed, because it was revoked or has reached its `max_ttl`, the
    operator gets **new** credentials, writes them into the Secret and restarts the targets.
    Within seconds there is another user, and the application works under its name.
    """
    lab.sh(
        """
status() { kubectl get vaultdynamicsecret orders -o jsonpath="{.status.$1}"; }
LEASE=$(status secretLease.id)
vault lease revoke -sync $LEASE  #?(revoke) what ends a lease?
until [[ $(status secretLease.id) != $LEASE ]]; do sleep 1; done
kubectl rollout status deployment/orders --timeout=120s
kubectl events --for vaultdynamicsecret/orders
kubectl exec deployment/orders -- curl -s http://orders:8080/
vault list sys/leases/lookup/$NAMESPACE-db/creds/orders
""",
        timeout=400,
    )


@revoke_the_lease.check
def _(lab: LabContext) -> None:
    path = lab.path("db", "creds", "orders")
    since = leased(lab, revoke_the_lease.number, path)
    expect(
        lease_of(lab, "orders") in since,
        "since this step began Vault has made another user",
        found=since,
    )
    first = leased(lab, database_users.number, path)[0]
    expect(
        first not in since and first.rpartition("/")[2] not in leases(lab),
        "the first lease is gone from Vault",
        found=leases(lab),
    )
    expect(
        soon(lab, lambda: len(users(lab)) == len(leases(lab)) == 1),
        "the database has no other user of this role: the revoked one is gone",
        found=users(lab),
    )
    expect_working(lab)
    entry = condition(lab, "VaultDynamicSecret", "orders", "RolloutRestart")
    expect(entry.get("status") == "True", "it was restarted by the operator", found=entry)
