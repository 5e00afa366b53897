"""Helm, for the online supply: one of upstream's charts becomes a release of a cluster.

A chart is a part like others: the supply brings it as a file. A release bears the sum of its
chart and of its values as a label, and is left alone as long as both are the same and its
objects are there: helm needs seconds even for nothing. Health is not helm's business here:
an integration waits for what it knows about, and explains itself. What is offline is
installed from this project's own manifests, without helm.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.base import process
from harness.base.errors import EnvironmentLacks, LabError
from harness.base.paths import PROJECT
from harness.clients.kube import Kube, Object, Objects
from harness.clients.kube_objects import KubeUnreachable
from harness.integrations.base import InstallContext
from harness.supply.base import Provided, chart_part

INSTALL_SECONDS = 300.0
# On the release: what it was made of. Helm copies it to the Secret that keeps the release.
MADE_OF = f"{PROJECT}/made-of"
# What Vault's chart leaves out where the server runs outside the cluster. Without the last two
# it makes an account that may review tokens, for no server.
NO_SERVER: Mapping[str, Any] = {
    "enabled": False,
    "serviceAccount": {"create": False},
    "authDelegator": {"enabled": False},
}


def install(
    context: InstallContext, chart: str, release: str, namespace: str, values: Mapping[str, Any]
) -> str:
    """Install or upgrade `release`, or leave it as it is; return where its chart came from.

    The values are kept beside helm's log in the integration's folder. Raises EnvironmentLacks
    when the supply brought no helm or no chart; CommandFailed with helm's last lines when
    the cluster refuses it.
    """
    program, archive = (_brought(context, part, chart) for part in ("helm", chart_part(chart)))
    made_of = _digest(archive, values)
    kube = context.kube(namespace)
    kept = _last_revision(kube, release)
    status = kept["metadata"]["labels"]["status"] if kept else ""
    if kept and status == "deployed" and _is_whole(kube, kept, made_of):
        return archive.origin
    context.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = context.folder / f"{release}.values.json"
    file.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def helm(*words: str | Path) -> None:
        process.run(
            [_path(program), *words, "--namespace", namespace, "--kubeconfig", context.kubeconfig],
            env=_environment(context),
            log=context.folder / "helm.log",
            timeout=INSTALL_SECONDS,
            hint=f"{release}.values.json beside that log has the values; ./lab up tries again",
        )

    # Helm refuses to touch a release whose last operation was cut off in the middle.
    if status.startswith(("pending-", "uninstalling")):
        helm("uninstall", release)
    helm(
        *("upgrade", "--install", release, _path(archive), "--create-namespace"),
        *("--values", file, "--labels", f"{MADE_OF}={made_of}"),
    )
    return archive.origin


def _brought(context: InstallContext, part: str, chart: str) -> Provided:
    found = context.provided.get(part)
    if found is None or found.path is None:
        raise EnvironmentLacks(
            f"the release of chart {chart} needs {part}, and this supply brought none",
            hint="--supply online",
        )
    return found


def _path(part: Provided) -> Path:
    assert part.path is not None
    return part.path


def _digest(chart: Provided, values: Mapping[str, Any]) -> str:
    """What a release is made of, as a label's value."""
    inputs = json.dumps([chart.digest, values], sort_keys=True)
    return hashlib.sha256(inputs.encode()).hexdigest()[:32]


def _last_revision(kube: Kube, release: str) -> Object | None:
    """The Secret in which helm keeps the newest revision of a release, None without one."""
    kept: Objects = kube.list("Secret", selector=f"owner=helm,name={release}")
    return max(kept, key=lambda one: int(one["metadata"]["labels"]["version"]), default=None)


def _is_whole(kube: Kube, kept: Object, made_of: str) -> bool:
    """Whether a release is made of this, with all its objects there, at their full number."""
    if kept["metadata"]["labels"].get(MADE_OF) != made_of:
        return False
    try:
        return all(_is_there(kube, wanted) for wanted in _objects(kept))
    except KubeUnreachable:
        raise
    except (LabError, OSError, ValueError, KeyError):
        # A kind that the cluster has lost, or a Secret that helm writes in another form.
        return False


def _objects(kept: Object) -> Objects:
    """The objects of a release, from the Secret: JSON, compressed, twice in base64."""
    packed = base64.b64decode(base64.b64decode(kept["data"]["release"]))
    manifest = json.loads(gzip.decompress(packed))["manifest"]
    return [document for document in yaml.safe_load_all(manifest) if document]


def _is_there(kube: Kube, wanted: Object) -> bool:
    metadata = wanted["metadata"]
    namespace = metadata.get("namespace", "")
    found = kube.get(wanted["kind"], metadata["name"], namespace, wanted["apiVersion"])
    replicas = (wanted.get("spec") or {}).get("replicas")
    return found is not None and (replicas is None or found["spec"].get("replicas") == replicas)


def _environment(context: InstallContext) -> Mapping[str, str]:
    """Helm's folders inside the integration's: a person's own are neither read nor written."""
    return {
        f"HELM_{kind}_HOME": str(context.folder / "helm" / kind.lower())
        for kind in ("CACHE", "CONFIG", "DATA")
    }
