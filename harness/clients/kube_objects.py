"""Objects of the cluster: apply, get, list, delete, over the official Kubernetes client.

Objects go in as YAML text or dictionaries and come out as plain dictionaries, so that
what a learner sees in a notebook is what `kubectl -o yaml` shows. `apply` is a
server-side apply; every object it makes bears the labels of project, environment, lab
and step, which is how clean-up finds it again. What is about pods: harness.clients.kube.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError
from urllib3.exceptions import HTTPError

from harness.base.errors import EnvironmentLacks, LabError
from harness.base.paths import PROJECT
from harness.base.redact import redact

# It warns of each try while an API server restarts, in the middle of what a learner reads. What
# fails in the end is raised.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

Object = dict[str, Any]
Objects = list[Object]

REQUEST_SECONDS = 30
# How an API server says that it cannot decrypt a stored value.
_NO_KEY = ("no matching prefix found", "no matching key was found", "unable to transform key")

# Kinds that exist in more than one group, or that every lab uses: no discovery needed.
_GROUPS = {
    **dict.fromkeys(
        ("Pod", "Service", "Secret", "ConfigMap", "ServiceAccount", "Namespace", "Node", "Event"),
        "v1",
    ),
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"), "apps/v1"),
    **dict.fromkeys(("Job", "CronJob"), "batch/v1"),
    **dict.fromkeys(
        ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"), "rbac.authorization.k8s.io/v1"
    ),
    "EndpointSlice": "discovery.k8s.io/v1",
}


class KubeRefused(LabError):
    """The Kubernetes API answered with an error; `status` is the HTTP status."""

    def __init__(self, doing: str, status: int, message: str) -> None:
        self.status = status
        self.message = redact(message)
        no_key = any(words in self.message for words in _NO_KEY)
        super().__init__(
            f"Kubernetes answered {status} to `{doing}`: {self.message}",
            hint="the API server lacks a key of what lies in etcd: give it back, or ./lab up does"
            if no_key
            else "kubectl describe the object, kubectl auth can-i for a 403",
        )


class KubeUnreachable(EnvironmentLacks, HTTPError):
    """The Kubernetes API does not answer at all. Still an HTTPError, for who waits for that."""


class ObjectVerbs:
    """One cluster, through one kubeconfig. `namespace` is the default of every verb."""

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str = "default",
        labels: Callable[[], Mapping[str, str]] = dict,
        on_call: Callable[[str], None] | None = None,
    ) -> None:
        self.namespace = namespace
        self._labels = labels
        self._on_call = on_call
        # The generated client is only partly typed: Any here, typed results everywhere else.
        self.api: Any = _new_client(kubeconfig)
        self._dynamic: Any = None

    @cached_property
    def core(self) -> Any:
        """The generated client of the core API; half a second to import, so only on demand."""
        return client.CoreV1Api(self.api)

    # -- objects ------------------------------------------------------------------------

    def apply(self, manifest: str | Path | Object, namespace: str = "") -> Objects:
        """Create or change the objects of `manifest` (YAML text, a file, one object).

        Returns the objects as the API server stored them. Raises KubeRefused.
        """
        if isinstance(manifest, Path):
            manifest = manifest.read_text(encoding="utf-8")
        documents = [manifest] if isinstance(manifest, dict) else yaml.safe_load_all(manifest)
        return [self._apply_one(document, namespace) for document in documents if document]

    def _apply_one(self, source: Object, namespace: str) -> Object:
        body = cast(Object, json.loads(json.dumps(source)))
        kind, api_version = body["kind"], body["apiVersion"]
        metadata = body.setdefault("metadata", {})
        metadata["labels"] = {**(metadata.get("labels") or {}), **self._labels()}
        resource = self._resource(kind, api_version)
        where = {}
        if resource.namespaced:
            where["namespace"] = metadata.get("namespace") or namespace or self.namespace
        name = metadata["name"]
        shown = _without_values(source) if kind == "Secret" else source
        text = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)
        self._say(here_document(f"kubectl apply{_n(where)} -f -", text))
        return self._ask(
            f"kubectl apply {kind.lower()}/{name}",
            lambda: resource.server_side_apply(
                body=body,
                name=name,
                field_manager=PROJECT,
                force_conflicts=True,
                _request_timeout=REQUEST_SECONDS,
                **where,
            ),
        )

    def would_create(self, body: Object) -> Object:
        """What the API server would store, after admission; nothing is. Raises KubeRefused."""
        resource = self._resource(body["kind"], body["apiVersion"])
        name = f"{body['kind'].lower()}/{body['metadata']['name']}"
        return self._ask(
            f"kubectl create --dry-run=server {name}",
            lambda: resource.create(
                body=body,
                dry_run="All",
                _request_timeout=REQUEST_SECONDS,
                **self._where(resource, body["metadata"].get("namespace", "")),
            ),
        )

    def get(
        self, kind: str, name: str, namespace: str = "", api_version: str = ""
    ) -> Object | None:
        """The object, or None when it does not exist."""
        resource = self._resource(kind, api_version)
        where = self._where(resource, namespace)
        self._say(f"kubectl get {kind.lower()} {name}{_n(where)} -o yaml")
        try:
            return self._ask(
                f"kubectl get {kind.lower()} {name}",
                lambda: resource.get(name=name, _request_timeout=REQUEST_SECONDS, **where),
            )
        except KubeRefused as refused:
            if refused.status == 404:
                return None
            raise

    def list(
        self,
        kind: str,
        namespace: str = "",
        selector: str = "",
        api_version: str = "",
        all_namespaces: bool = False,
    ) -> Objects:
        """Every object of this kind that the label `selector` matches."""
        resource = self._resource(kind, api_version)
        where = {} if all_namespaces else self._where(resource, namespace)
        if selector:
            where["label_selector"] = selector
        answer = self._ask(
            f"kubectl get {kind.lower()}",
            lambda: resource.get(_request_timeout=REQUEST_SECONDS, **where),
        )
        return cast(Objects, answer.get("items") or [])

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str = "",
        api_version: str = "",
        grace: int | None = None,
    ) -> None:
        """Delete the object if it exists; `grace` is in seconds (0: at once)."""
        resource = self._resource(kind, api_version)
        where = self._where(resource, namespace)
        self._say(f"kubectl delete {kind.lower()} {name}{_n(where)} --ignore-not-found")
        body: Object = {"propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            self._ask(
                f"kubectl delete {kind.lower()} {name}",
                lambda: resource.delete(
                    name=name, body=body, _request_timeout=REQUEST_SECONDS, **where
                ),
            )
        except KubeRefused as refused:
            if refused.status != 404:
                raise

    # -- inside -------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        if self._on_call:
            self._on_call(redact(line))

    def _where(self, resource: Any, namespace: str) -> dict[str, Any]:
        return {"namespace": namespace or self.namespace} if resource.namespaced else {}

    def _resource(self, kind: str, api_version: str) -> Any:
        if self._dynamic is None:
            try:
                self._dynamic = _dynamic(self.api)
            except HTTPError as error:
                raise self._unreachable(error) from error
        version = api_version or _GROUPS.get(kind, "")
        query = {"kind": kind, **({"api_version": version} if version else {})}
        try:
            return self._dynamic.resources.get(**query)
        except ResourceNotFoundError:
            # The cached discovery is older than a CRD that was installed since.
            self._dynamic.resources.invalidate_cache()
            try:
                return self._dynamic.resources.get(**query)
            except ResourceNotFoundError as error:
                raise LabError(
                    f"the cluster knows no kind {kind} {version}".rstrip(),
                    hint="kubectl api-resources; is the integration installed? ./lab status",
                ) from error

    def _ask(self, doing: str, call: Callable[[], Any]) -> Object:
        try:
            return _plain(self.api, call())
        except (DynamicApiError, ApiException) as error:
            raise KubeRefused(doing, error.status or 0, message_of(error)) from error
        except HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: HTTPError) -> KubeUnreachable:
        reason = getattr(error, "reason", None) or error
        # The message is about sockets; the error's type says refused, timed out or cut off.
        return KubeUnreachable(
            f"the Kubernetes API does not answer ({type(reason).__name__})",
            where=str(self.api.configuration.host),
            hint="./lab status shows whether the cluster runs; ./lab up repairs it",
        )


def condition(found: Object | None, kind: str) -> Object:
    """The object's condition of this type; {} when it has none, or is not there."""
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return next((dict(one) for one in conditions if one["type"] == kind), {})


def here_document(command: str, text: str) -> str:
    """The command with `text` as its standard input, so that a person can paste it."""
    end = "EOF"
    while end in text.splitlines():
        end += "_"
    body = text.strip("\n")
    return f"{command} <<'{end}'\n{body}\n{end}"


def _new_client(kubeconfig: Path) -> Any:
    load: Any = config.new_client_from_config
    # The API server is a port of this machine, whatever NO_PROXY says.
    settings = client.Configuration()
    settings.proxy = None
    return load(str(kubeconfig), client_configuration=settings)


def _dynamic(api: Any) -> Any:
    make: Any = DynamicClient
    return make(api)


def _plain(api: Any, answer: Any) -> Object:
    if hasattr(answer, "to_dict") and not hasattr(answer, "openapi_types"):
        return cast(Object, answer.to_dict())
    return cast(Object, api.sanitize_for_serialization(answer))


def message_of(error: Any) -> str:
    """What the API server says in an error's body; its reason when there is none."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _n(where: Mapping[str, Any]) -> str:
    return f" -n {where['namespace']}" if where.get("namespace") else ""


def _without_values(secret: Object) -> Object:
    """A Secret to show: its fields are named, what is in them is not."""
    hidden: Object = {field: "…" for field in ("data", "stringData") if field in secret}
    return {**secret, **hidden}
