"""The Lab object of lab 00. Its steps stand in the modules beside it, their order in steps.py."""

from __future__ import annotations

from harness import Lab
from labs.lab00_why.picture import PICTURE
from labs.lab00_why.questions import QUESTIONS

why = Lab(
    "00",
    "Kubernetes Secrets are not really secret",
    minutes=25,
    needs=("control-plane",),
    snapshots=("control_plane",),
    goal="What protects a Kubernetes Secret, what does not, and what Vault adds: every claim is "
    "tried out on a real API server and a real etcd before it is believed.",
    picture=PICTURE,
    remember=(
        "base64 is an encoding. Who may get, list or watch a Secret, or create a pod beside it, "
        "has its value.",
        "A Secret lies in etcd, and in all its backups, in the clear until you encrypt it. "
        "Encryption protects the disk, not the API (lab 06).",
        "A volume follows a change within 90 seconds; a variable and a subPath do not.",
        "Kubernetes can say who read a Secret only if an audit policy was there before.",
    ),
    questions=QUESTIONS,
)
