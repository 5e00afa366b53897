"""Finding everything in the cluster that belongs to one lab.

To the lab belong its namespaces (`lab01`, `lab01-…`) with all that is in them, objects
elsewhere that bear its label, and cluster-wide objects that are named after it. Every
kind that the API server can list and delete is listed once, across all namespaces: some
fifty small requests, a tenth of a second. Objects that Kubernetes makes by itself in every
namespace are left out, and so are the fields that the server fills in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import urllib3

from harness.base.errors import EnvironmentLacks
from harness.base.labels import LAB_LABEL
from harness.clients.kube import REQUEST_SECONDS, KubeRefused, Object
from harness.snapshot.copies import SecretCopies
from harness.snapshot.manifest import clean
from harness.snapshot.model import Item

_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_NEEDED_VERBS = {"list", "create", "delete"}

# Kubernetes makes these by itself, or a lab must not delete them.
_SKIPPED = frozenset(
    {
        "apiservices",
        "csinodes",
        "customresourcedefinitions",
        "endpoints",
        "endpointslices",
        "events",
        "ipaddresses",
        "leases",
        "nodes",
        "persistentvolumes",
        "resourceslices",
        "volumeattachments",
    }
)
_EVERYWHERE = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
# Controllers make and replace these for an owner; only the owner counts.
_MACHINERY = frozenset(
    {"ControllerRevision", "Job", "Pod", "ReplicaSet", "SecretProviderClassPodStatus"}
)
_SERVER_ERRORS = (500, 502, 503, 504)
_BUILT_IN = re.compile(r"|apps|batch|autoscaling|policy|.*\.k8s\.io")


@dataclass(frozen=True)
class KubeKind:
    """One kind that the API server serves, under its preferred version."""

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """The apiVersion in a manifest: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def custom(self) -> bool:
        """Whether it is a custom resource: its operator may have set finalizers."""
        return not _BUILT_IN.fullmatch(self.group)

    def path(self, namespace: str = "", name: str = "") -> str:
        """The API path of the collection or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        where = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{where}/{self.plural}" + (f"/{name}" if name else "")


class ClusterState:
    """Requests to one API server by path, and the items of one lab in it."""

    def __init__(self, api: Any, prefix: str, number: str, copies: SecretCopies) -> None:
        self._api = api
        self.prefix = prefix
        self.number = number
        self.copies = copies
        # The kinds that the last `collect` could not list, by their path, and why.
        self.unreadable: dict[str, str] = {}

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        allow: Collection[int] = (),
        accept: str = "application/json",
        content: str = "application/json",
    ) -> tuple[int, Object]:
        """One request: the HTTP status and the answer. Raises KubeRefused from 400 on."""
        request = self._api.param_serialize(
            method,
            path,
            header_params={"Accept": accept, "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._api.call_api(*request, _request_timeout=REQUEST_SECONDS)
            answer.read()
        except urllib3.exceptions.HTTPError as error:
            raise EnvironmentLacks(
                f"the Kubernetes API does not answer: {getattr(error, 'reason', error)}",
                where=str(self._api.configuration.host),
                hint="./lab status shows whether the cluster runs; ./lab up repairs it",
            ) from error
        try:
            value = json.loads(answer.data)
        except ValueError:
            value = {"message": answer.data.decode(errors="replace")[:200]}
        if answer.status >= 400 and answer.status not in allow:
            raise KubeRefused(f"{method} {path}", answer.status, str(value.get("message")))
        return answer.status, value

    def kinds(self) -> list[KubeKind]:
        """Every kind that can be listed, created and deleted, each once."""
        found = []
        for root in ("/api", "/apis"):
            for group in self.ask("GET", root, accept=_DISCOVERY)[1].get("items") or []:
                seen = set()
                for version in group["versions"]:
                    for entry in version.get("resources") or []:
                        plural = entry["resource"]
                        if plural in seen or plural in _SKIPPED:
                            continue
                        seen.add(plural)
                        if set(entry["verbs"]) >= _NEEDED_VERBS:
                            found.append(
                                KubeKind(
                                    group["metadata"].get("name", ""),
                                    version["version"],
                                    plural,
                                    entry["responseKind"]["kind"],
                                    entry["scope"] == "Namespaced",
                                )
                            )
        return found

    def collect(self, pool: Executor) -> list[Item]:
        """Every item of the lab in the cluster."""
        self.unreadable = {}
        kinds = self.kinds()
        paths = {(kind.api_version, kind.name): kind for kind in kinds}
        listed = pool.map(lambda kind: self._list(kind), kinds)
        items = [
            self._item(kind, entry, paths)
            for kind, entries in zip(kinds, listed, strict=True)
            for entry in entries
            if self._ours(kind, entry["metadata"])
        ]
        terminating = {item.path for item in items if item.terminating}
        return [replace(i, terminating=True) if i.parent in terminating else i for i in items]

    def _list(self, kind: KubeKind) -> list[Object]:
        # A kind may be deleted between discovery and list. One of a custom resource cannot be
        # listed while its conversion webhook, or the server behind its API, does not answer.
        broken = _SERVER_ERRORS if kind.custom else ()
        status, answer = self.ask("GET", kind.path(), allow=(404, 405, *broken))
        if status in broken:
            self.unreadable[kind.path()] = str(answer.get("message"))
        return list(answer.get("items") or []) if status == 200 else []

    def _ours(self, kind: KubeKind, metadata: Object) -> bool:
        name, namespace = metadata["name"], metadata.get("namespace", "")
        if (kind.name, name) in _EVERYWHERE:
            return False
        labelled = (metadata.get("labels") or {}).get(LAB_LABEL) == self.number
        named = namespace or name
        own = named.startswith(f"{self.prefix}-") or (
            named == self.prefix and (bool(namespace) or kind.name == "Namespace")
        )
        return labelled or own

    def _item(self, kind: KubeKind, entry: Object, paths: dict[Any, KubeKind]) -> Item:
        metadata = entry["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        manifest = clean({**entry, "apiVersion": kind.api_version, "kind": kind.name})
        if kind.name == "Secret":
            sum_, copy, kept = self.copies.keep(manifest), None, True
        else:
            sum_, copy, kept = self.copies.split(manifest)
        owners = metadata.get("ownerReferences") or []
        terminating = "deletionTimestamp" in metadata
        return Item(
            kind.path(namespace, name),
            kind.name,
            f"{namespace}/{name}" if namespace else name,
            sum_,
            kind="custom" if kind.custom else "",
            copy=copy,
            kept=kept,
            ephemeral=bool(owners) or terminating,
            terminating=terminating,
            parent=f"/api/v1/namespaces/{namespace}" if namespace else "",
            owner=_owner(owners, namespace, paths) if kind.name in _MACHINERY else "",
        )


def _owner(owners: list[Object], namespace: str, paths: dict[Any, KubeKind]) -> str:
    """The API path of the object that made this one, by its ownerReferences."""
    for owner in sorted(owners, key=lambda one: not one.get("controller")):
        kind = paths.get((owner.get("apiVersion"), owner.get("kind")))
        if kind:
            return kind.path(namespace, owner["name"])
    return ""
