"""kubectl's verbs as Python names, over the official Kubernetes client.

Objects go in as YAML text or dictionaries and come out as plain dictionaries, so that
what a learner sees in a notebook is what `kubectl -o yaml` shows. `apply` is a
server-side apply; every object it makes bears the labels of project, environment, lab
and step, which is how clean-up finds it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError
from kubernetes.stream import stream

from harness.errors import LabError
from harness.paths import PROJECT
from harness.redact import Secret, redact
from harness.wait import wait_for

Object = dict[str, Any]
Objects = list[Object]
Lines = list[str]

REQUEST_SECONDS = 30
LOG_TAIL = 20

MANAGED_BY = "app.kubernetes.io/managed-by"
ENVIRONMENT_LABEL = f"{PROJECT}/environment"
LAB_LABEL = f"{PROJECT}/lab"
STEP_LABEL = f"{PROJECT}/step"

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
        super().__init__(
            f"Kubernetes answered {status} to `{doing}`: {self.message}",
            hint="kubectl describe the object, kubectl auth can-i for a 403",
        )


class ExecFailed(LabError):
    """A command in a pod ended with a status other than 0; `output` is redacted."""

    def __init__(self, doing: str, status: int, output: str) -> None:
        self.status = status
        self.output = redact(output)
        super().__init__(f"`{doing}` ended with status {status}: {self.output.strip()[-800:]}")


class Kube:
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
        self.core: Any = client.CoreV1Api(self.api)
        self._dynamic: Any = None

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
        shown = {**source, "data": "…"} if kind == "Secret" else source
        self._say(
            f"kubectl apply{_n(where)} -f - <<'EOF'\n"
            + yaml.safe_dump(shown, sort_keys=False).strip()
            + "\nEOF"
        )
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

    # -- pods ---------------------------------------------------------------------------

    def exec(
        self,
        pod: str,
        command: str | Sequence[str],
        namespace: str = "",
        container: str = "",
        timeout: float = 60,
    ) -> str:
        """Run `command` in a pod and return its standard output.

        A string is run by the pod's `sh -c`. Raises ExecFailed with both outputs when
        it ends with a status other than 0.
        """
        words = ["sh", "-c", command] if isinstance(command, str) else list(command)
        target = namespace or self.namespace
        shown = command if isinstance(command, str) else " ".join(command)
        where = f" -c {container}" if container else ""
        self._say(f"kubectl exec -n {target} {pod}{where} -- sh -c '\n{shown.strip()}\n'")
        extra = {"container": container} if container else {}
        # exec switches the connection to a websocket: it must not be the shared client,
        # whose request function `stream` replaces for the duration of the call.
        core: Any = client.CoreV1Api(client.ApiClient(self.api.configuration))
        try:
            session = stream(
                core.connect_get_namespaced_pod_exec,
                pod,
                target,
                command=words,
                stdin=False,
                stdout=True,
                stderr=True,
                tty=False,
                _preload_content=False,
                **extra,
            )
        except ApiException as error:
            raise KubeRefused(f"kubectl exec {pod}", error.status or 0, _message(error)) from error
        session.run_forever(timeout=timeout)
        out, err = session.read_stdout() or "", session.read_stderr() or ""
        if session.is_open():
            session.close()
            raise ExecFailed(f"kubectl exec {pod}", -1, f"no end after {timeout:.0f}s\n{out}{err}")
        try:
            status = session.returncode
        except ValueError as error:
            # The client takes for a number what is a sentence: the container does not run.
            raise ExecFailed(f"kubectl exec {pod}", -1, f"{error}\n{out}{err}") from error
        if status != 0:
            raise ExecFailed(f"kubectl exec {pod}", int(status or -1), out + err)
        return str(out)

    def logs(
        self, pod: str, namespace: str = "", container: str = "", tail: int | None = None
    ) -> str:
        """What the pod (or one container of it) has printed so far; "" before it started."""
        extra: dict[str, Any] = {"container": container} if container else {}
        if tail:
            extra["tail_lines"] = tail
        target = namespace or self.namespace
        self._say(f"kubectl logs -n {target} {pod}" + (f" -c {container}" if container else ""))
        try:
            # The client decodes bytes by repr() unless the raw response is asked for.
            answer = self.core.read_namespaced_pod_log(
                pod, target, _preload_content=False, _request_timeout=REQUEST_SECONDS, **extra
            )
        except ApiException as error:
            if error.status == 400:  # the container has not started yet
                return ""
            raise KubeRefused(f"kubectl logs {pod}", error.status or 0, _message(error)) from error
        return cast(bytes, answer.data).decode(errors="replace")

    def events(self, name: str, namespace: str = "", uid: str = "") -> Lines:
        """`Reason: message` of every event about the object of this name, oldest first.

        Events outlive their object: `uid` leaves out those of a namesake before it.
        """
        target = namespace or self.namespace
        selector = f"involvedObject.name={name}" + (f",involvedObject.uid={uid}" if uid else "")
        items = self.core.list_namespaced_event(
            target, field_selector=selector, _request_timeout=REQUEST_SECONDS
        ).items
        items.sort(key=lambda e: e.last_timestamp or e.event_time or e.metadata.creation_timestamp)
        return [f"{event.reason}: {event.message}" for event in items]

    def create_token(
        self, service_account: str, audience: str = "", seconds: int = 600, namespace: str = ""
    ) -> Secret:
        """A token for the service account (TokenRequest API); at least 600 seconds."""
        target = namespace or self.namespace
        self._say(
            f"kubectl create token -n {target} {service_account}"
            + (f" --audience {audience}" if audience else "")
        )
        body = {
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
            }
        }
        answer = self._ask(
            f"kubectl create token {service_account}",
            lambda: self.core.create_namespaced_service_account_token(
                service_account, target, body, _request_timeout=REQUEST_SECONDS
            ),
        )
        return Secret(answer["status"]["token"])

    def ca_certificate(self) -> str:
        """The certificate (PEM) that signs the API server's own."""
        return Path(self.api.configuration.ssl_ca_cert).read_text(encoding="ascii")

    def wait_for_pod(
        self, pod: str, state: str = "Ready", namespace: str = "", timeout: float = 60
    ) -> Object:
        """Wait until the pod is "Ready", "Succeeded", "Failed" or "Running"; return it.

        Gives up early when the pod can no longer get there. The failure tells the pod's
        events and its last log lines.
        """
        target = namespace or self.namespace

        def probe() -> Object | None:
            found = self._quiet_get(pod, target)
            if not found:
                return None
            status = found.get("status") or {}
            phase = status.get("phase")
            ready = any(
                c["type"] == "Ready" and c["status"] == "True"
                for c in status.get("conditions") or []
            )
            ended = phase in ("Succeeded", "Failed")
            if (state == "Ready" and ready) or phase == state:
                return found
            if ended:
                raise LabError(
                    f"pod {target}/{pod} is {phase}, it will never be {state}\n"
                    + self.explain_pod(pod, target),
                    hint=f"kubectl -n {target} describe pod {pod}",
                )
            return None

        return cast(
            Object,
            wait_for(
                f"pod {target}/{pod} to be {state}",
                probe,
                timeout=timeout,
                explain=lambda: self.explain_pod(pod, target),
                hint=f"kubectl -n {target} describe pod {pod}",
            ),
        )

    def explain_pod(self, pod: str, namespace: str = "") -> str:
        """Phase, container states, events and last log lines of a pod, redacted."""
        target = namespace or self.namespace
        found = self._quiet_get(pod, target)
        if not found:
            return f"pod {target}/{pod} does not exist"
        status = found.get("status") or {}
        lines = [f"pod {target}/{pod}: {status.get('phase')}"]
        for entry in (status.get("initContainerStatuses") or []) + (
            status.get("containerStatuses") or []
        ):
            lines.append(f"  container {entry['name']}: {json.dumps(entry.get('state'))}")
            log = self.logs(pod, target, container=entry["name"], tail=LOG_TAIL).strip()
            lines += [f"    | {line}" for line in log.splitlines()[-LOG_TAIL:]]
        lines += [f"  event {event}" for event in self.events(pod, target)[-8:]]
        return redact("\n".join(lines))

    # -- inside -------------------------------------------------------------------------

    def _quiet_get(self, pod: str, namespace: str) -> Object | None:
        listener, self._on_call = self._on_call, None
        try:
            return self.get("Pod", pod, namespace)
        finally:
            self._on_call = listener

    def _say(self, line: str) -> None:
        if self._on_call:
            self._on_call(redact(line))

    def _where(self, resource: Any, namespace: str) -> dict[str, Any]:
        return {"namespace": namespace or self.namespace} if resource.namespaced else {}

    def _resource(self, kind: str, api_version: str) -> Any:
        if self._dynamic is None:
            self._dynamic = _dynamic(self.api)
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
            raise KubeRefused(doing, error.status or 0, _message(error)) from error


def _new_client(kubeconfig: Path) -> Any:
    load: Any = config.new_client_from_config
    return load(str(kubeconfig))


def _dynamic(api: Any) -> Any:
    make: Any = DynamicClient
    return make(api)


def _plain(api: Any, answer: Any) -> Object:
    if hasattr(answer, "to_dict") and not hasattr(answer, "openapi_types"):
        return cast(Object, answer.to_dict())
    return cast(Object, api.sanitize_for_serialization(answer))


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _n(where: Mapping[str, Any]) -> str:
    return f" -n {where['namespace']}" if where.get("namespace") else ""
