"""Step 1: the driver and the provider: who does what, and is all of it there?"""

from __future__ import annotations

from pathlib import Path

from harness import expect
from harness.lab.api import LabContext
from labs.lab02_csi.drawing import draw_parts
from labs.lab02_csi.lab import csi
from labs.lab02_csi.volumes import API, DRIVER, DRIVER_NAMESPACE

ROLES = (
    "secretproviderclasses-role",
    "secretproviderclasses-admin-role",
    "secretproviderclasses-viewer-role",
    "secretproviderclasspodstatuses-viewer-role",
    "secretprovidersyncing-role",
)


@csi.drawing("parts")
def parts(lab: LabContext) -> Path:
    """Who asks whom, from a pod's creation to its first container."""
    picture = lab.folder / "who-does-what.png"
    return draw_parts("From a pod with a csi volume to its first container", picture)


@csi.step(
    "Who does what",
    minutes=5,
    observe=True,
    goals=[
        "the driver is told whose volume it fills",
        "it is called again for mounted volumes",
        "it gets the pod's token for the audience vault",
        "kubelet on every node knows the driver",
        "kube-system/csi-secrets-store is ready on every node",
        "csi/vault-csi-provider is ready on every node",
        "the kind secretproviderclasses is served",
        "the kind secretproviderclasspodstatuses is served",
        "the cluster roles for people and driver are there",
    ],
    hints=[
        "kubectl get csidriver secrets-store.csi.k8s.io -o yaml; kubectl get csinode -o yaml; "
        "kubectl get daemonset -A",
        "When something is missing here the environment is at fault, not you: ./lab up repairs it.",
    ],
)
def who_does_what(lab: LabContext) -> None:
    """
    Two programs run on every node.

    The **Secrets Store CSI driver** is a volume plug-in of Kubernetes. It knows about pods,
    folders and mounts, and nothing of Vault. The **provider** is Vault's side of it: it
    listens on a socket in a folder that both share, gets the wishes of one pod, logs in to
    Vault *as that pod* and hands back files. Other vaults have other providers.

    The object **CSIDriver** tells kubelet how to treat this driver. Three of its fields matter:

    - `podInfoOnMount`: tell the driver whose volume it is;
    - `tokenRequests`: make a token of the pod's service account, for the audience `vault`,
      and hand it along. That is how the provider comes to the pod's identity (with
      `serviceAccountTokenInSecrets`, stable in Kubernetes 1.36, the token travels in a field that
      drivers keep out of their logs);
    - `requiresRepublish`: call again, every minute or so, for volumes that are mounted
      already. Rotation lives on that.

    Just look around; this step changes nothing.
    """
    lab.sh("kubectl get csidriver secrets-store.csi.k8s.io -o yaml")
    lab.sh("""
kubectl get csinode -o custom-columns='NODE:.metadata.name,DRIVERS:.spec.drivers[*].name'
kubectl get daemonset --all-namespaces
kubectl api-resources --api-group=secrets-store.csi.x-k8s.io
""")
    lab.draw("parts")


@who_does_what.check
def _(lab: LabContext) -> None:
    found = lab.kube.get("CSIDriver", DRIVER, api_version="storage.k8s.io/v1") or {}
    spec = found.get("spec") or {}
    expect(spec.get("podInfoOnMount"), "the driver is told whose volume it fills", found=spec)
    expect(spec.get("requiresRepublish"), "it is called again for mounted volumes", found=spec)
    audiences = [request["audience"] for request in spec.get("tokenRequests") or []]
    expect("vault" in audiences, "it gets the pod's token for the audience vault", found=audiences)

    # Does kubelet on each node know it, and do driver and provider run there?
    nodes = lab.kube.list("CSINode", api_version="storage.k8s.io/v1")
    without = [
        node["metadata"]["name"]
        for node in nodes
        if DRIVER not in [entry["name"] for entry in (node.get("spec") or {}).get("drivers") or []]
    ]
    expect(nodes and not without, "kubelet on every node knows the driver", found=without)
    for namespace, name in ((DRIVER_NAMESPACE, "csi-secrets-store"), ("csi", "vault-csi-provider")):
        status = (lab.kube.get("DaemonSet", name, namespace) or {}).get("status") or {}
        expect(
            0 < status.get("desiredNumberScheduled", 0) == status.get("numberReady", 0),
            f"{namespace}/{name} is ready on every node",
            found=status,
        )

    # The kinds it brings, both served, and who may use them.
    group, version = API.split("/")
    for plural in ("secretproviderclasses", "secretproviderclasspodstatuses"):
        crd = lab.kube.get("CustomResourceDefinition", f"{plural}.{group}") or {"spec": {}}
        served = [v["name"] for v in crd["spec"].get("versions", []) if v["served"]]
        expect(version in served, f"the kind {plural} is served", found=served)
    missing = [role for role in ROLES if not lab.kube.get("ClusterRole", role)]
    expect(not missing, "the cluster roles for people and driver are there", found=missing)
