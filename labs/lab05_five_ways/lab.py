"""The Lab object of lab 05. Its steps stand in the modules beside it, their order in steps.py."""

from __future__ import annotations

from harness import Lab
from labs.lab05_five_ways.picture import PICTURE
from labs.lab05_five_ways.questions import QUESTIONS

five_ways = Lab(
    "05",
    "Five ways, side by side",
    minutes=30,
    needs=("csi", "injector", "operator"),
    goal="One application and one secret, five ways into its pod: you see what you write, what "
    "arrives, what Vault saw, what it costs, and where the secret lies afterwards.",
    picture=PICTURE,
    remember=(
        "All ways but the plain Secret end in Vault with the same identity: the pod's own service "
        "account. They differ in the place where the secret lies and in who fetches it.",
        "Where the secret is a Kubernetes Secret it lies in etcd, and everybody who may read "
        "Secrets has it.",
        "Files in memory come with CSI, with the injector, and with code of your own.",
        "A running process learns of a change only by reading its file again. The operator can "
        "restart it; the others leave that to you.",
    ),
    questions=QUESTIONS,
)
