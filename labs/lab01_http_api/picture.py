"""The picture of lab 01: a pod logs in with its own token and reads."""

from __future__ import annotations

from harness.lab.picture import Arrow, Box, Picture

PICTURE = Picture(
    title="Lab 01: you, the pod, the cluster and Vault",
    frames=(Box("cluster", "Kubernetes", 20, 20, 450, 350),),
    boxes=(
        Box("api", "API server", 40, 56, 410, 62, ("signs tokens, reviews tokens",)),
        Box("kubelet", "kubelet", 40, 230, 130, 70),
        Box(
            "pod",
            "pod app",
            260,
            190,
            190,
            160,
            ("/identity/token", "/vault-ca/ca.crt", "/memory (never on a disk)", "curl and jq"),
        ),
        Box(
            "vault",
            "Vault",
            600,
            56,
            240,
            294,
            (
                "TLS on port 8200",
                "auth method: who are you?",
                "policy: what may you have?",
                "engines: kv, database, pki",
                "audit log: who, what, when",
            ),
            "vault",
        ),
        Box("you", "you", 600, 430, 90, 50, ("curl",)),
        Box("database", "PostgreSQL", 730, 430, 110, 50, (), "store"),
    ),
    arrows=(
        Arrow("you", "vault", "You store a secret, write a policy and set up the auth method."),
        Arrow(
            "kubelet",
            "api",
            "kubelet asks for a token of the account app: for this pod, for the audience vault.",
        ),
        Arrow("kubelet", "pod", "kubelet puts the token into a file of the pod."),
        Arrow("pod", "vault", "The pod logs in: it sends its token and names a role.", 225),
        Arrow(
            "vault",
            "api",
            "Vault asks the cluster in a TokenReview: is this token good, and whose is it?",
        ),
        Arrow("vault", "pod", "Vault answers with a token of its own, for ten minutes.", 270),
        Arrow("pod", "vault", "With this token the pod reads what the policy allows.", 315),
        Arrow(
            "vault",
            "database",
            "For a dynamic secret Vault makes a database user, and drops it when its lease ends.",
        ),
    ),
)
