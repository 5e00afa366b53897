"""The picture of lab 03: a webhook writes agents into a pod, and they write its files."""

from __future__ import annotations

from harness.lab.picture import Arrow, Box, Picture

PICTURE = Picture(
    title="Lab 03: the webhook, the agents and the application",
    frames=(Box("pod", "pod web, as it is stored", 20, 250, 560, 330),),
    boxes=(
        Box("you", "you", 380, 20, 160, 50, ("a pod with annotations",)),
        Box("injector", "injector", 20, 130, 200, 62, ("a mutating webhook",)),
        Box("api", "API server", 360, 130, 480, 62, ("stores what the webhook answers",)),
        Box(
            "volume",
            "/vault/secrets",
            40,
            300,
            170,
            260,
            ("an emptyDir in memory,", "shared by the containers", "", "app", "database-url"),
            "store",
        ),
        Box("init", "vault-agent-init", 330, 285, 230, 80, ("init container:", "runs, then ends")),
        Box("app", "app", 330, 385, 230, 80, ("your container:", "no Vault, no token of Vault")),
        Box(
            "sidecar", "vault-agent", 330, 485, 230, 80, ("sidecar: stays, renews,", "reads again")
        ),
        Box(
            "vault",
            "Vault",
            660,
            285,
            180,
            280,
            ("policy of the role", "leases", "audit log: the pod's", "service account"),
            "vault",
        ),
    ),
    arrows=(
        Arrow("you", "api", "You create a pod; its annotations name a role and a path in Vault."),
        Arrow(
            "api",
            "injector",
            "The API server asks the webhook before it stores the pod.",
            along=0.3,
        ),
        Arrow(
            "injector",
            "api",
            "The webhook answers with a JSON Patch: two agents, volumes in memory, no secret.",
            along=0.3,
        ),
        Arrow(
            "api", "pod", "kubelet starts the pod that is stored, not the one that you sent.", 420
        ),
        Arrow("init", "vault", "The init agent logs in with the pod's token and reads."),
        Arrow("vault", "api", "Vault has the token reviewed by the cluster."),
        Arrow("init", "volume", "It writes the files and ends. Only then the application starts."),
        Arrow("app", "volume", "The application reads its files."),
        Arrow("sidecar", "vault", "The sidecar renews leases and asks again for what changed."),
        Arrow("sidecar", "volume", "It writes the files again; it can run a command afterwards."),
    ),
)
