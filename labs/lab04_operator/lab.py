"""The Lab object of lab 04. Its steps stand in the modules beside it, their order in steps.py."""

from __future__ import annotations

from harness import Lab
from labs.lab04_operator.picture import PICTURE
from labs.lab04_operator.questions import QUESTIONS

operator = Lab(
    "04",
    "The Secrets Operator",
    minutes=145,
    needs=("postgres", "operator", "second-vault", "nginx"),
    goal="Custom resources say which secret of which Vault becomes which Kubernetes Secret. An "
    "operator copies it, repairs it, and restarts the workloads that use it. The application "
    "knows no Vault.",
    picture=PICTURE,
    remember=(
        "The operator has no identity of its own in Vault: it logs in as each consumer's service "
        "account, and Vault's policy decides.",
        "A Secret that the operator made belongs to its custom resource. Edited, it is repaired; "
        "deleted, it comes back; and it goes when the resource goes.",
        "A changed secret reaches a process only when the process is restarted: name the restart "
        "target.",
        "When Vault is away nothing changes, for good and for bad: the last copy stays.",
        "The copy lies in etcd, and whoever may read Secrets has it: that is the price.",
    ),
    questions=QUESTIONS,
)
