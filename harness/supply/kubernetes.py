"""Which Kubernetes a cluster has: the default, or another release that versions.toml pins.

A release is named by its minor version ("1.36"). The parts of the default bear plain names
(node, kubectl); those of another one end with it (node-1.37).
"""

from __future__ import annotations

from harness.base.errors import UsageError
from harness.supply.base import all_parts, find_part

NODE, KUBECTL = "node", "kubectl"


def default() -> str:
    """The release that a cluster has unless a person asks for another."""
    return ".".join(find_part(NODE).version.split(".")[:2])


def releases() -> tuple[str, ...]:
    """Every release that is pinned, the default first."""
    prefix = f"{NODE}-"
    return (
        default(),
        *(name.removeprefix(prefix) for name in all_parts() if name.startswith(prefix)),
    )


def part_name(name: str, release: str) -> str:
    """The name of the part `name` of this release. Raises UsageError for one that is not pinned."""
    if release not in releases():
        raise UsageError(
            f"there is no Kubernetes {release!r} here",
            where="--kubernetes",
            hint=", ".join(releases()),
        )
    return name if release == default() else f"{name}-{release}"


def plain_name(part: str) -> str:
    """The name of a part of whatever release without the release: kubectl for kubectl-1.37."""
    return next((name for name in (NODE, KUBECTL) if part.startswith(f"{name}-")), part)
