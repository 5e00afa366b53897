"""The picture of lab 05: the five ways under one another, and where the secret stops."""

from __future__ import annotations

from harness.lab.picture import Arrow, Box, Picture

SOURCE, CARRIER, COPY, POD = 34, 220, 445, 665


def _way(number: int, name: str) -> tuple[Box, int]:
    top = 20 + 118 * (number - 1)
    return Box(f"way{number}", f"{number}. {name}", 20, top, 820, 106), top + 32


_PLAIN, _PLAIN_Y = _way(1, "plain Secret")
_HTTP, _HTTP_Y = _way(2, "HTTP API")
_CSI, _CSI_Y = _way(3, "CSI")
_INJECTOR, _INJECTOR_Y = _way(4, "injector")
_OPERATOR, _OPERATOR_Y = _way(5, "operator")


def _vault(key: str, y: int) -> Box:
    return Box(key, "Vault", SOURCE, y, 110, 62, (), "vault")


def _pod(key: str, y: int, *lines: str) -> Box:
    return Box(key, "pod", POD, y, 160, 62, lines)


PICTURE = Picture(
    title="Lab 05: five ways of a password into a pod",
    frames=(_PLAIN, _HTTP, _CSI, _INJECTOR, _OPERATOR),
    boxes=(
        Box("you", "you", SOURCE, _PLAIN_Y, 110, 62),
        Box("plain-copy", "Secret in etcd", COPY, _PLAIN_Y, 150, 62, (), "store"),
        _pod("plain-pod", _PLAIN_Y, "file, variable"),
        _vault("http-vault", _HTTP_Y),
        _pod("http-pod", _HTTP_Y, "its own code,", "a file in memory"),
        _vault("csi-vault", _CSI_Y),
        Box("csi", "driver, provider", CARRIER, _CSI_Y, 150, 62, ("on each node",)),
        _pod("csi-pod", _CSI_Y, "a file in memory"),
        _vault("injector-vault", _INJECTOR_Y),
        Box("agent", "agents", COPY, _INJECTOR_Y, 150, 62, ("in the pod",)),
        _pod("injector-pod", _INJECTOR_Y, "a file in memory"),
        _vault("operator-vault", _OPERATOR_Y),
        Box("operator", "operator", CARRIER, _OPERATOR_Y, 150, 62, ("one a cluster",)),
        Box("operator-copy", "Secret in etcd", COPY, _OPERATOR_Y, 150, 62, (), "store"),
        _pod("operator-pod", _OPERATOR_Y, "file, variable"),
    ),
    arrows=(
        Arrow("you", "plain-copy", "Plain Secret: you write it, and the API server stores it."),
        Arrow("plain-copy", "plain-pod", "kubelet fetches it for the pod. Vault sees nothing."),
        Arrow("http-pod", "http-vault", "HTTP API: the shop's own code logs in and reads."),
        Arrow(
            "csi",
            "csi-vault",
            "CSI: the provider logs in with the pod's token, when the pod is about to start.",
        ),
        Arrow("csi", "csi-pod", "The driver writes a file into the pod's memory."),
        Arrow(
            "agent", "injector-vault", "Injector: an agent in the pod logs in with the pod's token."
        ),
        Arrow("agent", "injector-pod", "The agent writes a file into the pod's memory, and again."),
        Arrow(
            "operator",
            "operator-vault",
            "Operator: it logs in as the shop, before any pod is there.",
        ),
        Arrow("operator", "operator-copy", "It writes a Secret, and keeps it as it is in Vault."),
        Arrow(
            "operator-copy",
            "operator-pod",
            "kubelet fetches it for the pod; after a change the operator restarts the pod.",
        ),
    ),
)
