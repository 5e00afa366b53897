"""The Lab object of lab 00. Its steps stand in the modules beside it, their order in steps.py."""

from __future__ import annotations

from harness import Lab

why = Lab(
    "00",
    "Kubernetes Secrets are not really secret",
    minutes=60,
    needs=("control-plane",),
    snapshots=("control_plane",),
    goal="What protects a Kubernetes Secret, what does not, and what Vault adds: every claim is "
    "tried out on a real API server and a real etcd before it is believed.",
    remember=(
        "base64 is an encoding. Who may get, list or watch a Secret, or create a pod beside it, "
        "has its value.",
        "Without encryption at rest a Secret lies in etcd in the clear, and in every backup.",
        "Encryption at rest protects the disk, not the API: whoever may read gets plain text.",
        "A key is dropped last: first add, then write with it, then rewrite all, then remove.",
        "Who read a Secret can be told only if an audit policy was there before.",
    ),
)
