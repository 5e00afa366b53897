"""The Lab object of lab 06. Its steps stand in the modules beside it, their order in steps.py."""

from __future__ import annotations

from harness import Lab
from labs.lab06_encryption.picture import PICTURE
from labs.lab06_encryption.questions import QUESTIONS

encryption = Lab(
    "06",
    "Encryption at rest",
    minutes=60,
    needs=("control-plane",),
    snapshots=("control_plane",),
    goal="For people who run clusters: you encrypt Secrets in etcd, rotate the key, let Vault "
    "hold it, take Vault away, and see what encryption at rest does not do.",
    picture=PICTURE,
    remember=(
        "The first provider writes, all of them read. Nothing is rewritten by itself.",
        "A key is dropped last: first add, then write with it, then rewrite all, then remove.",
        "aescbc does not notice a changed value; aesgcm and secretbox do.",
        "With KMS v2 the key that wraps the keys stays in Vault; an API server that restarts "
        "while Vault is away reads no Secret.",
        "Encryption at rest protects the disk, not the API: whoever may read gets plain text.",
    ),
    questions=QUESTIONS,
)
