"""The picture of lab 04: the operator copies from Vault into a Secret."""

from __future__ import annotations

from harness.lab.picture import Arrow, Box, Picture

PICTURE = Picture(
    title="Lab 04: the operator between Vault and the API server",
    boxes=(
        Box("you", "you", 20, 20, 230, 50, ("kubectl apply",)),
        Box(
            "api",
            "API server",
            20,
            140,
            230,
            430,
            (
                "VaultConnection",
                "VaultAuth",
                "VaultStaticSecret",
                "VaultDynamicSecret",
                "VaultPKISecret",
                "",
                "Secret app",
                "owner: the custom resource",
            ),
        ),
        Box(
            "operator",
            "operator",
            370,
            140,
            190,
            240,
            ("one for the cluster", "no account of its own", "in Vault"),
        ),
        Box(
            "vault",
            "Vault",
            670,
            140,
            170,
            320,
            ("policy of the", "consumer", "audit log: the", "consumer's account"),
            "vault",
        ),
        Box(
            "pod", "pod of the shop", 370, 480, 190, 90, ("a file or a variable,", "knows no Vault")
        ),
        Box("etcd", "etcd", 20, 640, 230, 50, ("the copy lies here",), "store"),
    ),
    arrows=(
        Arrow("you", "api", "You apply custom resources: where Vault is, who asks, which secret."),
        Arrow("api", "operator", "The operator watches them.", 170),
        Arrow(
            "operator", "api", "It asks for a short token of the consumer's service account.", 215
        ),
        Arrow("operator", "vault", "It logs in to Vault with this token, and reads.", 200),
        Arrow(
            "vault",
            "api",
            "Vault has the token reviewed. What it sees is the consumer, not the operator.",
            420,
        ),
        Arrow("operator", "vault", "Later it reads again, renews leases, asks for new ones.", 300),
        Arrow(
            "operator", "api", "It writes a Kubernetes Secret, whose owner is your resource.", 260
        ),
        Arrow("api", "etcd", "The API server stores the Secret like every other."),
        Arrow("api", "pod", "kubelet gives it to the pod, as it gives every Secret."),
        Arrow(
            "operator",
            "api",
            "When the secret has changed the operator restarts the Deployment that you named.",
            310,
        ),
        Arrow(
            "operator", "api", "When somebody edits the Secret, the operator writes it again.", 355
        ),
    ),
)
