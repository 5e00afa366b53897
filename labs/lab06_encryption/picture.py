"""The picture of lab 06: the API server encrypts with a key that Vault's Transit wraps."""

from __future__ import annotations

from harness.lab.picture import Arrow, Box, Picture

PICTURE = Picture(
    title="Lab 06: encryption at rest with KMS v2 and Vault",
    frames=(Box("node", "control-plane node", 270, 20, 280, 470),),
    boxes=(
        Box("you", "you", 20, 60, 160, 90, ("kubectl",)),
        Box(
            "api",
            "API server",
            300,
            60,
            220,
            170,
            ("EncryptionConfiguration:", "which provider writes,", "which ones read"),
        ),
        Box(
            "etcd",
            "etcd",
            660,
            60,
            180,
            110,
            ("k8s:enc:kms:v2:…", "cipher text and the", "wrapped seed"),
            "store",
        ),
        Box("plugin", "KMS plugin", 300, 380, 220, 90, ("a socket on the node",)),
        Box("vault", "Vault", 660, 380, 180, 90, ("Transit holds the key",), "vault"),
    ),
    arrows=(
        Arrow(
            "you",
            "api",
            "You write a Secret and read it back in the clear: encryption at rest does not change "
            "the API.",
        ),
        Arrow(
            "api",
            "plugin",
            "At its start the API server makes a seed and asks the plugin to wrap it.",
            360,
        ),
        Arrow(
            "plugin",
            "vault",
            "The plugin has Transit encrypt the seed. The key never leaves Vault.",
        ),
        Arrow(
            "api",
            "etcd",
            "Each Secret is encrypted with a key that comes from the seed. Vault is not asked.",
        ),
        Arrow(
            "api",
            "plugin",
            "After a restart the seed must be unwrapped: while Vault is away, the API server reads "
            "no Secret.",
            460,
        ),
    ),
)
