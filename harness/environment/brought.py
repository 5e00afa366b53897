"""A kind cluster that a person brings along: it is used, and never created or deleted.

The labs start Vault and PostgreSQL as containers beside the cluster and copy images into its nodes.
So the nodes must be containers of this machine's engine. What the labs put into the cluster bears
the environment's label, and `remove_from` removes that and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes import client as api
from kubernetes.client.exceptions import ApiException

from harness import integrations
from harness.base import process
from harness.base.errors import LabError, UsageError
from harness.base.labels import ENVIRONMENT_LABEL, KIND_LABEL
from harness.base.network import LOCALHOST
from harness.base.statefile import field, read_record, write_atomically, write_json
from harness.clients.kube import Kube
from harness.controlplane.contract import API_PORT
from harness.environment.cluster import Cluster
from harness.environment.kubeconfig import current_context, server_of
from harness.integrations.helm import MADE_OF
from harness.supply.engine import engine
from harness.supply.into_nodes import NodeImages

BROUGHT_FILE = "brought.json"
ROLE_LABEL = "io.x-k8s.kind.role"
_NODES = ("control-plane", "worker")
_SERVERS = ("vault", "database")
_OF_A_LAB = re.compile(r"lab\d\d")
_OURS_ONLY = (LOCALHOST, "localhost", "0.0.0.0", "::1")  # noqa: S104 # where kind publishes a port
REMOVE_SECONDS = 300.0
# First: a webhook without its server would hinder the rest.
_FIRST = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")


@dataclass(frozen=True)
class Brought:
    """A kind cluster that was brought along: `cluster` is kind's name, `nodes` are containers."""

    cluster: str
    network: str
    nodes: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Brought | None:
        """What was written to this state folder, None when the environment's cluster is its own."""
        return read_record(folder / BROUGHT_FILE, cls.from_json, f"delete {BROUGHT_FILE}")

    def write(self, folder: Path) -> None:
        """Write it down."""
        value = {"cluster": self.cluster, "network": self.network, "nodes": list(self.nodes)}
        write_json(folder / BROUGHT_FILE, value)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Brought:
        """The reverse of `write`. Raises ValueError naming the first field that is wrong."""
        return cls(
            field(stored, "cluster", str),
            field(stored, "network", str),
            tuple(map(str, field(stored, "nodes", list))),
        )


class BroughtCluster(Cluster):
    """The cluster of `Brought`, by the copy of the person's kubeconfig in `folder`."""

    def __init__(self, brought: Brought, folder: Path) -> None:
        super().__init__(brought.cluster, folder, brought.network)
        self._nodes = brought.nodes

    def images(self) -> list[NodeImages]:
        """What each of its nodes has."""
        return [NodeImages(node, self.folder / f"loaded-{node}.json") for node in self._nodes]


def adopt(file: Path, folder: Path, environment: str, needs: tuple[str, ...]) -> Brought:
    """Look at the cluster of this kubeconfig; keep a copy of it and what was found in `folder`.

    Raises UsageError, before anything is started, when the labs cannot use this cluster.
    """
    kubeconfig = current_context(file)
    found = _kind_cluster(server_of(kubeconfig), file)
    before = Brought.read(folder)
    if before and before.cluster != found.cluster:
        raise UsageError(
            f"environment {environment} uses the cluster {before.cluster}, not {found.cluster}",
            hint=f"./lab down --env {environment} first, or another name: --env NAME",
        )
    copy = folder / "kubeconfig"
    fresh = folder / "kubeconfig.checked"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(fresh, yaml.safe_dump(kubeconfig, sort_keys=False), 0o600)
    try:
        _require_usable(Kube(fresh), environment, needs, file)
        fresh.replace(copy)
    finally:
        fresh.unlink(missing_ok=True)
    found.write(folder)
    return found


def require_possible(needs: tuple[str, ...]) -> None:
    """Raise UsageError for what needs a cluster of the environment's own."""
    if "control-plane" in needs:
        raise UsageError(
            "labs 00 and 06 look into etcd and change the API server's settings: not in a cluster"
            " that was brought along",
            hint="./lab up --env NAME makes one for them",
        )


def namespaces(needs: tuple[str, ...]) -> set[str]:
    """The namespaces of Vault, of PostgreSQL and of these integrations.

    The environment makes them before helm would, so that they bear its label.
    """
    objects = (one for need in needs for one in integrations.find(need).objects)
    return {*_SERVERS, *(one.namespace for one in objects)} - {"", "kube-system"}


def remove_from(cluster: Cluster, environment: str, programs: Path) -> list[str]:
    """Remove from the cluster what the environment has put there; return it in words.

    A cluster that is gone, or does not answer, is no reason to keep the rest.
    """
    if not cluster.kubeconfig.exists():
        return []
    kubectl: list[str | Path] = [programs / "kubectl", "--kubeconfig", cluster.kubeconfig]
    try:
        for namespace, release in _releases(Kube(cluster.kubeconfig)):
            process.run(
                [
                    *(programs / "helm", "uninstall", release, "--namespace", namespace),
                    *("--kubeconfig", cluster.kubeconfig),
                ],
                timeout=REMOVE_SECONDS,
            )
        kinds = process.run(
            [*kubectl, "api-resources", "--verbs=list,delete", "-o", "name"], timeout=60
        ).splitlines()
        # A warning about an API that does not answer would stand among the names.
        named = (kind for kind in kinds if " " not in kind)
        listed = sorted(named, key=lambda kind: not kind.startswith(_FIRST))
        said = process.run(
            [
                *(*kubectl, "delete", ",".join(listed), "--all-namespaces", "--ignore-not-found"),
                *("--selector", f"{ENVIRONMENT_LABEL}={environment}"),
                *("--timeout", f"{REMOVE_SECONDS:.0f}s"),
            ],
            timeout=2 * REMOVE_SECONDS,
        )
    except LabError as error:
        return [f"nothing from the cluster {cluster.name}: {error.what.splitlines()[0]}"]
    gone = sum(" deleted" in line for line in said.splitlines())
    return [f"{gone} objects from the cluster {cluster.name}, which stays"]


# -- inside -------------------------------------------------------------------------------


def _kind_cluster(server: str, file: Path) -> Brought:
    """The kind cluster of this engine whose API server is published at that address."""
    address = urlsplit(server)
    with closing(engine.client()) as client:
        containers = client.containers.list(filters={"label": KIND_LABEL})
    for container in containers:
        ports = container.attrs["NetworkSettings"]["Ports"].get(f"{API_PORT}/tcp") or ()
        if address.hostname in _OURS_ONLY and str(address.port) in {p["HostPort"] for p in ports}:
            name = container.labels[KIND_LABEL]
            nodes = [
                one
                for one in containers
                if one.labels[KIND_LABEL] == name and one.labels.get(ROLE_LABEL) in _NODES
            ]
            network = next(iter(container.attrs["NetworkSettings"]["Networks"]))
            return Brought(name, network, tuple(sorted(node.name or "" for node in nodes)))
    raise UsageError(
        f"{server or 'that cluster'} is no kind cluster that runs on this machine's engine: its"
        " pods could not reach the Vault that is started beside it, nor get the labs' images",
        where=str(file),
        hint="kind create cluster --kubeconfig FILE makes one",
    )


def _require_usable(kube: Kube, environment: str, needs: tuple[str, ...], file: Path) -> None:
    """Raise UsageError when the API does not answer, lacks rights, or has namesakes of ours."""
    try:
        everything = {"verb": "*", "group": "*", "resource": "*"}
        access: Any = api.AuthorizationV1Api(kube.api)
        review = access.create_self_subject_access_review(
            {"spec": {"resourceAttributes": everything}}, _request_timeout=10
        )
        allowed = bool(review.status.allowed)
        taken = list(_namesakes(kube, environment, needs)) if allowed else []
    except ApiException as error:
        raise UsageError(
            f"the cluster refuses this kubeconfig: {error.reason}", where=str(file)
        ) from error
    except Exception as error:
        # urllib3's, an exec plugin's, a broken certificate's: each has a class of its own.
        raise UsageError(
            f"the cluster of this kubeconfig does not answer ({type(error).__name__})",
            where=str(file),
            hint=f"kubectl --kubeconfig {file} get nodes",
        ) from error
    if not allowed:
        raise UsageError(
            "this kubeconfig's user may not do everything in the cluster, which the labs need:"
            " namespaces, kinds, webhooks",
            where=str(file),
            hint="a context whose user is cluster-admin",
        )
    if taken:
        raise UsageError(
            f"the cluster has what the labs would take for theirs: {', '.join(taken)}",
            where=str(file),
            hint="another cluster: kind create cluster --kubeconfig FILE",
        )


def _namesakes(kube: Kube, environment: str, needs: tuple[str, ...]) -> Iterator[str]:
    """What bears a name that the labs use, and is not this environment's."""
    releases = set(_releases(kube))

    def is_ours(found: Mapping[str, Any]) -> bool:
        metadata = found["metadata"]
        notes = metadata.get("annotations") or {}
        release = tuple(notes.get(f"meta.helm.sh/release-{n}", "") for n in ("namespace", "name"))
        labels = metadata.get("labels") or {}
        return labels.get(ENVIRONMENT_LABEL) == environment or release in releases

    names = namespaces(needs)
    for found in kube.list("Namespace"):
        name = found["metadata"]["name"]
        if (name in names or _OF_A_LAB.fullmatch(name)) and not is_ours(found):
            yield f"namespace {name}"
    for one in (one for need in needs for one in integrations.find(need).objects):
        if one.namespace and one.namespace != "kube-system":
            continue
        known = kube.get(one.kind, one.name, one.namespace)
        if known and not is_ours(known):
            yield f"{one.kind} {one.name}"


def _releases(kube: Kube) -> Iterator[tuple[str, str]]:
    """The helm releases that the labs made: their namespaces and names."""
    kept = kube.list("Secret", selector=f"owner=helm,{MADE_OF}", all_namespaces=True)
    found = {(one["metadata"]["namespace"], one["metadata"]["labels"]["name"]) for one in kept}
    yield from sorted(found)
