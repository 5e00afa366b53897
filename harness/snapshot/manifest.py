"""Which part of a stored Kubernetes object was written by a client, and which filled in.

`clean` turns an object that the API server returned back into a manifest: without status,
identifiers, times and whatever controllers and defaults of the moment have added. Two
objects are the same when their manifests are, and a manifest can be created again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from harness.clients.kube import Object

_METADATA = ("name", "namespace", "labels", "annotations")
_NOISY_ANNOTATIONS = (
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
    "kubectl.kubernetes.io/last-applied-configuration",
    "kubernetes.io/service-account.uid",
    "pv.kubernetes.io/",
    "volume.beta.kubernetes.io/",
    "volume.kubernetes.io/",
)
_NOISY_LABELS = (
    "kubernetes.io/metadata.name",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
)
_RESTARTED = ("kubectl.kubernetes.io/restartedAt", "vso.secrets.hashicorp.com/restartedAt")
_TOKEN_VOLUME = "kube-api-access-"  # noqa: S105 - the prefix of a volume's name, no secret


def clean(entry: Object) -> Object:
    """The manifest that a person would write for this object: no status, no default values."""
    body: Object = json.loads(json.dumps({k: v for k, v in entry.items() if k != "status"}))
    body["metadata"] = {k: v for k, v in body["metadata"].items() if k in _METADATA and v}
    _drop(body["metadata"], "annotations", _NOISY_ANNOTATIONS)
    _drop(body["metadata"], "labels", _NOISY_LABELS)
    tidy = _TIDY.get(body["kind"])
    if tidy:
        tidy(body)
    return body


def _drop(holder: Object, field: str, prefixes: tuple[str, ...]) -> None:
    kept = {k: v for k, v in (holder.get(field) or {}).items() if not k.startswith(prefixes)}
    if kept:
        holder[field] = kept
    else:
        holder.pop(field, None)


def _tidy_pod(body: Object) -> None:
    spec = body["spec"]
    spec.pop("nodeName", None)
    # The token volume gets a random name; the server adds it again.
    volumes = [v for v in _named(spec, "volumes") if not v["name"].startswith(_TOKEN_VOLUME)]
    _set(spec, "volumes", volumes)
    for field in ("containers", "initContainers"):
        for container in _named(spec, field):
            mounts = _named(container, "volumeMounts")
            _set(
                container,
                "volumeMounts",
                [m for m in mounts if not m["name"].startswith(_TOKEN_VOLUME)],
            )


def _tidy_service(body: Object) -> None:
    spec = body["spec"]
    if spec.get("clusterIP") != "None":
        for field in ("clusterIP", "clusterIPs"):
            spec.pop(field, None)
    spec.pop("healthCheckNodePort", None)
    for port in spec.get("ports") or []:
        port.pop("nodePort", None)


def _tidy_claim(body: Object) -> None:
    body["spec"].pop("volumeName", None)


def _tidy_namespace(body: Object) -> None:
    body.pop("spec", None)


def _tidy_job(body: Object) -> None:
    spec = body["spec"]
    if not spec.get("manualSelector"):
        spec.pop("selector", None)
        _drop(spec["template"]["metadata"], "labels", (*_NOISY_LABELS, "job-name", "batch."))
        _drop(body["metadata"], "labels", (*_NOISY_LABELS, "job-name", "batch."))


def _tidy_secret(body: Object) -> None:
    if body.get("type") == "kubernetes.io/service-account-token":
        body.pop("data", None)  # the token controller writes it


def _tidy_workload(body: Object) -> None:
    # The time of the last restart, by an operator or `kubectl rollout restart`, is no change.
    template = (body.get("spec") or {}).get("template")
    if template:
        _drop(template.setdefault("metadata", {}), "annotations", _RESTARTED)


_TIDY = {
    "DaemonSet": _tidy_workload,
    "Deployment": _tidy_workload,
    "Job": _tidy_job,
    "Namespace": _tidy_namespace,
    "PersistentVolumeClaim": _tidy_claim,
    "Pod": _tidy_pod,
    "Secret": _tidy_secret,
    "Service": _tidy_service,
    "StatefulSet": _tidy_workload,
}


def _named(holder: Object, field: str) -> Iterator[Object]:
    yield from holder.get(field) or []


def _set(holder: Object, field: str, values: list[Object]) -> None:
    if values:
        holder[field] = values
    else:
        holder.pop(field, None)
