"""The Lab object of lab 02. Its steps stand in the modules beside it, their order in steps.py."""

from __future__ import annotations

from harness import Lab
from labs.lab02_csi.picture import PICTURE
from labs.lab02_csi.questions import QUESTIONS

csi = Lab(
    "02",
    "The CSI provider",
    minutes=85,
    needs=("postgres", "csi"),
    goal="A pod finds its secrets as files in memory, and knows nothing of Vault: kubelet, a CSI "
    "driver and a Vault provider fetch them before its container starts.",
    picture=PICTURE,
    remember=(
        "The pod needs no Vault client, and no Kubernetes Secret: files in memory, there "
        "before the first container starts, or the container does not start.",
        "The pod's own service account decides what may be read. The provider is only a "
        "messenger and has no rights in Vault.",
        "Files rotate; environment variables and subPath mounts keep what they started with.",
        "Once a class has secretObjects there is a copy in etcd: that protection is lost. Vault's "
        "policy, its audit log and the rotation remain.",
        "Why a volume was refused stands in the pod's events. That a rotation failed does not.",
    ),
    questions=QUESTIONS,
)
