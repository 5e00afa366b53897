"""Step 24: where the secret lies now, and what Vault's audit log knows of its readers."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.etcd import find_in_etcd
from labs.lab04_operator.lab import operator
from labs.lab04_operator.objects import kv, reads_of, soon
from labs.lab04_operator.sharing import team


def readers(lab: LabContext) -> set[str]:
    """Who has read the secrets of shop and team since this step began, by Vault's audit log."""
    entries = lab.audit.entries()
    paths = (lab.path("kv", "data", "shop/app"), lab.path("kv", "data", "team/app"))
    return set().union(*(reads_of(entries, path) for path in paths))


@operator.step(
    "Where it lies, and who has seen it",
    minutes=5,
    observe=True,
    goals=[
        "Vault's audit log names both consumers by namespace and service account",
        "and never the operator",
        "the password that only Vault should know lies in etcd's files as it is",
        "a value that was never stored is not found there",
    ],
    answer="In at least one, as it is; and the other value in none.",
    hints=[
        "The operator polls every few seconds: wait a moment, and look again.",
        "When the password is not in etcd's files, etcd is encrypted at rest: good for you. This "
        "environment is not.",
    ],
)
def follow_the_traces(lab: LabContext) -> None:
    """
    Two questions that an auditor asks.

    **Who has read it?** Vault's log names the *consumer*: `lab04/shop`, `lab04-team/team`.
    The operator does not appear, because it has no identity of its own there. But the log knows
    only for whom the copy was **made**. Who read the Kubernetes Secret afterwards Vault cannot
    know. That is for the API server's audit log, which is off unless somebody turned it on.

    **Where does it lie?** In Vault, encrypted; and in **etcd**, as the API server wrote it.
    `kubectl` shows base64; in etcd's files the value stands *as it is*. Whoever gets the disk of
    the control-plane node, or a backup, finds it with `grep`. Encryption at rest helps against
    that.

    With the direct API, the CSI provider and the injector the secret never was in etcd. That
    is the price of this comfort: anything that reads a Secret works unchanged. (The operator
    has a **CSI driver mode** that keeps secrets out of etcd, too. It needs Vault Enterprise.)

    *Before you run the cell: in how many files will `grep` find the password, and in how many
    a value that nobody has stored?*
    """
    lab.sh("""
kubectl get secret app -o jsonpath='{.data.password}' | base64 -d |
  docker exec -i $NODE grep -rlF -f - /var/lib/etcd/member
echo never-stored-anywhere | docker exec -i $NODE grep -rlF -f - /var/lib/etcd/member ||
  echo "in none of etcd's files"
""")
    lab.sh(r"""
READERS='"service_account_name":"[^"]*","service_account_namespace":"[^"]*"'
until tail -n 400 $VAULT_AUDIT_LOG | grep "$NAMESPACE-kv/data/team/app" | grep -q "$READERS"
do sleep 1; done
tail -n 400 $VAULT_AUDIT_LOG | grep "$NAMESPACE-kv/data/" | grep -o "$READERS" | sort | uniq -c
""")


@follow_the_traces.check
def _(lab: LabContext) -> None:
    expect(
        soon(lab, lambda: {f"{lab.namespace}/shop", f"{team(lab)}/team"} <= readers(lab)),
        "Vault's audit log names both consumers by namespace and service account",
        found=sorted(readers(lab)),
    )
    expect(
        not any("vault-secrets-operator" in reader for reader in readers(lab)),
        "and never the operator",
        found=sorted(readers(lab)),
    )
    password = kv(lab, "shop/app").get("password", "")
    expect(
        password and find_in_etcd(lab, password),
        "the password that only Vault should know lies in etcd's files as it is",
        hint="not there when etcd is encrypted at rest: good for you; this environment is not",
    )
    expect(
        not find_in_etcd(lab, "a value that was never stored"),
        "a value that was never stored is not found there",
    )
