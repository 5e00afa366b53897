"""What etcd holds: the raw value of an object, and what lies in etcd's files on the node."""

from __future__ import annotations

from harness.base.redact import redact
from harness.lab.context import LabContext

SHOWN = 120


def etcd_key(lab: LabContext, name: str, kind: str = "secrets") -> str:
    """Where etcd keeps an object of this lab's namespace."""
    return f"/registry/{kind}/{lab.namespace}/{name}"


def raw(lab: LabContext, name: str, kind: str = "secrets") -> bytes:
    """What etcd holds for it, byte by byte; b"" for nothing."""
    return lab.control_plane.raw(etcd_key(lab, name, kind))


def readable(value: bytes, most: int = SHOWN) -> str:
    """The first bytes as text: what is no text becomes a dot, what is secret is masked."""
    text = redact("".join(chr(byte) if 32 <= byte < 127 else "·" for byte in value))
    return text[:most] + (" …" if len(text) > most else "")


def find_in_etcd(lab: LabContext, value: str) -> list[str]:
    """The files of etcd on the node that hold `value` as it is.

    It is looked for in the raw files, because that is what somebody finds who steals a disk
    or a backup. The value travels by standard input: a command line can be seen by others.
    """
    node = lab.shell_variables()["NODE"]
    look = "grep -rlF -f - /var/lib/etcd/member || true"
    return lab.run(f"docker exec -i {node} sh -c '{look}'", stdin=str(value)).split()
