"""What lies in etcd's files on the node: for labs that compare copies of a secret."""

from __future__ import annotations

from harness.lab.context import LabContext


def find_in_etcd(lab: LabContext, value: str) -> list[str]:
    """The files of etcd on the node that hold `value` as it is.

    It is looked for in the raw files, because that is what somebody finds who steals a disk
    or a backup. The value travels by standard input: a command line can be seen by others.
    """
    node = lab.shell_variables()["NODE"]
    look = "grep -rlF -f - /var/lib/etcd/member || true"
    return lab.run(f"docker exec -i {node} sh -c '{look}'", stdin=str(value)).split()
