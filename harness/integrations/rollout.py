"""What the integrations that run in the cluster share: manifests, readiness, the proof kept.

A proof (a trial mount, a trial connection) takes seconds, so it is made once for the pods that
run: `Proof` remembers which ones it was made with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.base.statefile import read_json, write_json
from harness.base.wait import wait_for
from harness.clients.kube import Kube, Object, Objects
from harness.supply.base import Provided

READY_SECONDS = 180.0
# The names that images have in the manifests, before a supply has brought them.
_UNPINNED = "kube-vault-labs/"


def load_manifests(files: Iterable[Path], provided: Mapping[str, Provided]) -> Objects:
    """The objects in these files, with the images that the supply brought.

    A container's image `kube-vault-labs/PART:…` is replaced by that of the part.
    """
    found: Objects = [
        document
        for file in files
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if document
    ]
    for document in found:
        pod = ((document.get("spec") or {}).get("template") or {}).get("spec") or {}
        for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
            part = container["image"].rpartition(":")[0].removeprefix(_UNPINNED)
            if part in provided:
                container["image"] = provided[part].image
    return found


def chart_image(part: Provided) -> dict[str, str]:
    """An image as charts want it: repository and tag."""
    repository, _, tag = part.image.rpartition(":")
    return {"repository": repository, "tag": tag}


def wait_for_kind(kube: Kube, name: str) -> None:
    """Wait until the API server serves this CustomResourceDefinition. Raises GaveUp."""

    def established() -> bool:
        found = kube.get("CustomResourceDefinition", name)
        conditions = ((found or {}).get("status") or {}).get("conditions") or []
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    wait_for(
        f"the kind {name} to be served",
        established,
        timeout=READY_SECONDS,
        hint=f"kubectl describe crd {name}",
    )


def explain_pods(kube: Kube, selector: str) -> str:
    """Events and last log lines of the pods that bear these labels."""
    pods = kube.list("Pod", selector=selector)
    if not pods:
        return f"there is no pod {selector} in {kube.namespace}"
    return "\n".join(kube.explain_pod(pod["metadata"]["name"]) for pod in pods)


def identity(found: Object | None) -> list[Any]:
    """What changes when an object is made again or its specification changes."""
    metadata = (found or {}).get("metadata") or {}
    return [metadata.get("uid"), metadata.get("generation")]


class Proof:
    """Which version of an installation was last shown to work: a file of the integration."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "proved.json"

    def holds_for(self, version: list[Any]) -> bool:
        """Whether the proof was made with exactly this version."""
        return bool(read_json(self._file).get("versions") == version)

    def keep(self, version: list[Any]) -> None:
        """Remember that this version works."""
        write_json(self._file, {"versions": version})
