"""What a cluster node needs of Debian: systemd, runc and the tools that the kubelet calls.

A recipe of its own, so that it is fetched and installed while Kubernetes is compiled, and once
for all releases of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.supply.offline import debian
from harness.supply.offline.recipe import Job, Recipe

PACKAGES = (
    # what runs services
    "systemd",
    # what runs pods, beside containerd itself
    "runc",
    "containernetworking-plugins",
    # what the kubelet and kube-proxy call
    "conntrack",
    "ethtool",
    "iproute2",
    "ipset",
    "iptables",
    "kmod",
    "mount",
    "util-linux",
    # what kind's entrypoint, the harness and a person in the node call
    "bash",
    "curl",
    "procps",
)


class NodeBase(Recipe):
    """Leaves `rootfs.tar`, with the package database that the kube-proxy image is cut from."""

    name = "node_base"
    needs = ("base",)

    def inputs(self) -> Iterable[str]:
        return ["1", *PACKAGES]

    def build(self, job: Job) -> None:
        root = job.work / "root"
        job.say("installing systemd and runc")
        debian.unpack(job, job.needs["base"] / "rootfs.tar", root)
        debian.install(job, root, PACKAGES)
        debian.clean(root)
        job.say("packing")
        debian.pack(job, root, job.out / "rootfs.tar")
        debian.remove(root)


recipe = NodeBase()
