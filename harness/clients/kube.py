"""kubectl's verbs as Python names: those about pods, on top of those about objects.

`exec` runs a command in a pod, `logs` and `events` say what happened, `wait_for_pod`
gives up with an explanation and early when a pod can no longer get there. Everything
comes out as plain dictionaries and text. What is about objects: harness.clients.kube_objects.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

from harness.base.errors import LabError
from harness.base.redact import Secret, redact
from harness.base.wait import wait_for
from harness.clients.kube_objects import (
    REQUEST_SECONDS,
    KubeRefused,
    Object,
    Objects,
    ObjectVerbs,
    condition,
    here_document,
    message_of,
)

__all__ = [
    "REQUEST_SECONDS",
    "ExecFailed",
    "Kube",
    "KubeRefused",
    "Object",
    "Objects",
    "here_document",
]

LOG_TAIL = 20


class ExecFailed(LabError):
    """A command in a pod ended with a status other than 0; `output` is redacted."""

    def __init__(self, doing: str, status: int, output: str) -> None:
        self.status = status
        self.output = redact(output)
        super().__init__(f"`{doing}` ended with status {status}: {self.output.strip()[-800:]}")


class Kube(ObjectVerbs):
    """One cluster, through one kubeconfig. `namespace` is the default of every verb."""

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
        self._say(_as_typed(pod, target, container, command))
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
            raise KubeRefused(
                f"kubectl exec {pod}", error.status or 0, message_of(error)
            ) from error
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
            # 400: the container has not started yet. 404: kubelet has not heard of the pod.
            if error.status == 400 or (error.status == 404 and self._quiet_get(pod, target)):
                return ""
            raise KubeRefused(
                f"kubectl logs {pod}", error.status or 0, message_of(error)
            ) from error
        return cast(bytes, answer.data).decode(errors="replace")

    def events(self, name: str, namespace: str = "", uid: str = "") -> list[str]:
        """`Reason: message` of every event about the object of this name, oldest first.

        Events outlive their object: `uid` leaves out those of a namesake before it.
        """
        target = namespace or self.namespace
        selector = f"involvedObject.name={name}" + (f",involvedObject.uid={uid}" if uid else "")
        items = self.core.list_namespaced_event(
            target, field_selector=selector, _request_timeout=REQUEST_SECONDS
        ).items
        items.sort(key=_moment)
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

        Gives up early when the pod can no longer get there. The error names the pod's
        events and its last log lines.
        """
        target = namespace or self.namespace

        def probe() -> Object | None:
            found = self._quiet_get(pod, target)
            if not found:
                return None
            phase = (found.get("status") or {}).get("phase")
            ready = condition(found, "Ready").get("status") == "True"
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

    def _quiet_get(self, pod: str, namespace: str) -> Object | None:
        listener, self._on_call = self._on_call, None
        try:
            return self.get("Pod", pod, namespace)
        finally:
            self._on_call = listener


def _as_typed(pod: str, namespace: str, container: str, command: str | Sequence[str]) -> str:
    """The exec as a person can paste it: a script as a here-document, so that quotes stay."""
    where = f"-n {namespace} {pod}" + (f" -c {container}" if container else "")
    if not isinstance(command, str):
        return f"kubectl exec {where} -- {shlex.join(command)}"
    script = command.strip()
    if "\n" in script or "'" in script:
        return here_document(f"kubectl exec -i {where} -- sh", script)
    return f"kubectl exec {where} -- sh -c '{script}'"


def _moment(event: Any) -> tuple[int, int]:
    """When an event happened last, for sorting.

    The kubelet writes whole seconds, the scheduler microseconds, so that "Scheduled" would
    come after the "Started" of the same second. Both put the nanosecond at which they made
    the event into its name, in hexadecimal (client-go, tools/events and tools/record).
    """
    last = event.last_timestamp or event.event_time or event.metadata.creation_timestamp
    try:
        made = int(event.metadata.name.rpartition(".")[2], 16)
    except ValueError:
        made = 0
    return int(last.timestamp()), made
