"""The picture of lab 02: kubelet, the driver and the provider fill a volume before the start."""

from __future__ import annotations

from harness.lab.picture import Arrow, Box, Picture

PICTURE = Picture(
    title="Lab 02: who fills a CSI volume, and what lies in it",
    frames=(Box("node", "node", 20, 150, 640, 400),),
    boxes=(
        Box("api", "API server", 40, 20, 800, 56, ("pods, SecretProviderClasses, tokens",)),
        Box("kubelet", "kubelet", 40, 190, 150, 80),
        Box("driver", "CSI driver", 275, 190, 170, 80, ("DaemonSet", "knows no Vault")),
        Box("provider", "Vault provider", 505, 190, 140, 80, ("DaemonSet", "vault.sock")),
        Box("vault", "Vault", 715, 190, 125, 80, ("policy, audit log",), "vault"),
        Box("pod", "pod web", 40, 400, 150, 100, ("reads", "/secrets/password", "knows no Vault")),
        Box(
            "volume",
            "volume /secrets: a tmpfs",
            275,
            370,
            370,
            160,
            (
                "password → ..data/password",
                "..data → ..2026_11_28_03_14_15.926",
                "..2026_11_28_03_14_15.926/password",
                "A rotation writes a new folder, then moves the",
                "link ..data: all files change at one moment.",
            ),
            "store",
        ),
    ),
    arrows=(
        Arrow(
            "kubelet",
            "api",
            "A pod is to run here. kubelet asks for a token of the pod's own account, for the "
            "audience vault.",
        ),
        Arrow(
            "kubelet",
            "driver",
            "kubelet asks the driver for the volume and hands the token on.",
            215,
        ),
        Arrow(
            "driver", "api", "The driver reads the SecretProviderClass that the volume names.", 320
        ),
        Arrow("driver", "provider", "It asks the provider, through a socket on the node.", 215),
        Arrow(
            "provider", "vault", "The provider logs in with the pod's token, and names a role.", 210
        ),
        Arrow("vault", "api", "Vault has the token reviewed: it is the pod's account."),
        Arrow("provider", "vault", "The provider reads each path of the class once.", 250),
        Arrow(
            "provider",
            "driver",
            "It gives the files back, and an HMAC of each as its version.",
            245,
        ),
        Arrow("driver", "volume", "The driver writes the files into memory.", 360),
        Arrow(
            "driver",
            "api",
            "It notes the versions in a SecretProviderClassPodStatus: no value goes to etcd.",
            400,
        ),
        Arrow("kubelet", "pod", "Only now kubelet starts the containers; without files, never."),
        Arrow("pod", "volume", "The application opens a file."),
    ),
)
