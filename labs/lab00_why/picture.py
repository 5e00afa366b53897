"""The picture of lab 00: where a Kubernetes Secret goes, and who meets it on the way."""

from __future__ import annotations

from harness.lab.picture import Arrow, Box, Picture

PICTURE = Picture(
    title="Lab 00: where a Kubernetes Secret goes, and who can read it",
    frames=(Box("node", "node", 590, 150, 250, 330),),
    boxes=(
        Box("you", "you", 20, 20, 190, 80, ("kubectl, base64",)),
        Box("lister", "an account", 20, 130, 190, 80, ("may list Secrets,", "may not get them")),
        Box(
            "colleague",
            "a colleague",
            20,
            240,
            190,
            80,
            ("may create pods,", "no right on Secrets"),
        ),
        Box("api", "API server", 330, 20, 170, 300, ("RBAC", "audit log: off by default")),
        Box(
            "etcd",
            "etcd",
            640,
            20,
            200,
            90,
            ("the value as it is,", "and in every backup"),
            "store",
        ),
        Box("kubelet", "kubelet", 640, 190, 170, 80),
        Box("pod", "pod", 640, 370, 170, 90, ("a variable, a file",)),
    ),
    arrows=(
        Arrow("you", "api", "You create a Secret. base64 is an encoding: reading it takes no key."),
        Arrow("api", "etcd", "The API server writes the value to etcd as it is."),
        Arrow("lister", "api", "A list holds whole objects, with their values."),
        Arrow(
            "colleague",
            "api",
            "The author of a pod names the Secret. Nobody asks whether the author may read it.",
        ),
        Arrow("kubelet", "api", "kubelet fetches the Secret of each pod that runs on its node."),
        Arrow(
            "kubelet",
            "pod",
            "The value becomes a variable or a file. A change reaches the file, not the variable.",
        ),
    ),
)
