"""The drawing of step 1: who asks whom, from a pod's creation to its first container."""

from __future__ import annotations

from pathlib import Path

from harness.lab.kit.drawing import ACCENT, INK, Arrow, draw_sequence

LANES = ("API server", "kubelet", "CSI driver", "Vault provider", "Vault")

# From lane, to lane, what. The order is the order in time.
MESSAGES = (
    (0, 1, "a pod with a csi volume is to run here"),
    (1, 0, "TokenRequest: the pod's account, audience vault"),
    (1, 2, "NodePublishVolume: folder, class, pod, token"),
    (2, 0, "read the SecretProviderClass"),
    (2, 3, "Mount, over vault.sock: parameters, token"),
    (3, 4, "login: role and the pod's token"),
    (4, 0, "TokenReview: whose token is this?"),
    (3, 4, "read each path once"),
    (3, 2, "files: name, mode, content, version"),
    (2, 1, "tmpfs mounted, files written"),
    (1, 0, "the container starts"),
    (1, 2, "NodePublishVolume again, at each look at the pod"),
)


def draw_parts(title: str, file: Path) -> Path:
    """Write the picture as a PNG to `file` and return it."""
    arrows = [
        Arrow(start, end, f"{number}. {text}", _colour(text))
        for number, (start, end, text) in enumerate(MESSAGES, start=1)
    ]
    return draw_sequence(LANES, arrows, title, file)


def _colour(text: str) -> str:
    """What carries the pod's identity or the secret itself stands out."""
    return ACCENT if "token" in text.lower() or "files" in text else INK
