"""From annotations to a plan: what to inject into one pod, checked and typed.

`make_plan` fills in the defaults of this injector and this request, parses every
value, and refuses what cannot work, with the stage of upstream's message in front.
Nothing is written back to the pod: the defaults live in the plan only.
Source: hashicorp/vault-k8s v1.7.6, agent-inject/agent/agent.go.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from standins.common import gojson, values
from standins.injector import jsonpatch, secrets, token_volume
from standins.injector.annotations import AnnotationError, Notes
from standins.injector.defaults import defaults
from standins.injector.pod import JsonObject, Pod
from standins.injector.secrets import Secret
from standins.injector.settings import Settings
from standins.injector.token_volume import TokenVolume


class Refusal(Exception):
    """The pod is not let in; the text is what its creator reads."""


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Turn what goes wrong inside into a Refusal that says at which stage."""
    try:
        yield
    except (AnnotationError, jsonpatch.PatchError) as error:
        raise Refusal(f"{name}: {error}") from error


@dataclass(frozen=True)
class Plan:
    """Everything the patch needs. Strings are empty where nothing was asked for."""

    notes: Notes
    pod: Pod
    token: TokenVolume
    aws: TokenVolume | None
    secrets: list[Secret]
    containers: list[str]
    image: str
    role: str
    auth_config: JsonObject
    telemetry: JsonObject
    ca_bytes: str
    init_first: bool
    pre_populate: bool
    pre_populate_only: bool
    revoke_on_shutdown: bool
    revoke_grace: int
    tls_skip_verify: bool
    run_as_user: int
    run_as_group: int
    share_process_namespace: bool | None
    set_security_context: bool
    inject_token: bool
    cache_enable: bool
    cache_exit_on_err: bool
    enable_quit: bool
    exit_on_auth_err: bool
    exit_on_retry_failure: bool
    max_connections_per_host: int
    lease_renewal_threshold: float
    init_json_patch: list[jsonpatch.Operation]
    json_patch: list[jsonpatch.Operation]

    @property
    def sidecar(self) -> bool:
        """Whether an agent stays beside the application."""
        return not self.pre_populate_only

    @property
    def cache_persist(self) -> bool:
        """Whether the init container hands its cache to the sidecar."""
        return self.cache_enable and self.pre_populate and self.sidecar

    @property
    def own_paths(self) -> list[str]:
        """Folders of secrets that have one of their own, each once."""
        shared = self.notes.text("secret-volume-path")
        return list(dict.fromkeys(s.folder for s in self.secrets if s.folder != shared))


def make_plan(pod: Pod, namespace: str, settings: Settings) -> Plan:
    """The plan for a pod that asked for injection. Raises Refusal."""
    with stage("error adding default annotations"):
        notes = defaults(pod, namespace, settings)
    with stage("error creating new agent sidecar"):
        plan = _read(pod, notes, settings)
    with stage("error validating agent configuration"):
        _validate(plan)
    return plan


def _read(pod: Pod, notes: Notes, settings: Settings) -> Plan:
    token = token_volume.find(pod, notes.text("agent-service-account-token-volume-name"))
    uid = notes.parsed("agent-run-as-user", values.parse_int)
    if notes.flag("agent-run-as-same-user"):
        uid = _uid_of_first_container(pod)
    if notes.text("agent-inject-default-template").lower() not in ("map", "json"):
        raise AnnotationError(
            f"invalid default template type: {notes.text('agent-inject-default-template').lower()}"
        )
    return Plan(
        notes=notes,
        pod=pod,
        token=token,
        aws=token_volume.find_aws(pod) if notes.text("auth-type") == "aws" else None,
        secrets=secrets.read(notes),
        containers=notes.text("agent-inject-containers").split(","),
        image=notes.text("agent-image"),
        role=notes.text("role"),
        auth_config=_auth_config(notes, token),
        telemetry={
            key.replace("-", "_"): _json_or_text(text)
            for key, text in notes.family("agent-telemetry-").items()
        },
        ca_bytes=settings.vault_cacert_bytes,
        init_first=notes.flag("agent-init-first"),
        pre_populate=notes.flag("agent-pre-populate", True),
        pre_populate_only=notes.flag("agent-pre-populate-only"),
        revoke_on_shutdown=notes.flag("agent-revoke-on-shutdown"),
        revoke_grace=notes.parsed("agent-revoke-grace", values.parse_uint),
        tls_skip_verify=notes.flag("tls-skip-verify"),
        run_as_user=uid,
        run_as_group=notes.parsed("agent-run-as-group", values.parse_int),
        share_process_namespace=_share_process_namespace(pod, notes),
        set_security_context=notes.flag("agent-set-security-context", True),
        inject_token=notes.flag("agent-inject-token"),
        cache_enable=notes.flag("agent-cache-enable"),
        cache_exit_on_err=notes.flag("agent-cache-exit-on-err"),
        enable_quit=notes.flag("agent-enable-quit"),
        exit_on_auth_err=notes.flag("agent-auto-auth-exit-on-err"),
        exit_on_retry_failure=notes.flag("template-config-exit-on-retry-failure", True),
        max_connections_per_host=notes.parsed(
            "template-max-connections-per-host", values.parse_int
        ),
        lease_renewal_threshold=notes.parsed(
            "template-lease-renewal-threshold", values.parse_float, "0"
        ),
        init_json_patch=_patch_of(notes, "agent-init-json-patch"),
        json_patch=_patch_of(notes, "agent-json-patch"),
    )


def _validate(plan: Plan) -> None:
    notes = plan.notes
    token = plan.token
    own_config = bool(notes.text("agent-configmap"))
    kubernetes = notes.text("auth-type") == "kubernetes"
    no_role = not plan.role and not notes.family("auth-config-").get("role")
    for wrong, message in (
        (not notes.text("agent-request-namespace"), "namespace missing from request"),
        (
            not (token.name and token.mount_path and token.token_path),
            "no service account token volume name, mount path or token path found",
        ),
        (not plan.image, "no Vault image found"),
        (not own_config and not notes.text("auth-type"), "no Vault Auth Type found"),
        (not own_config and kubernetes and no_role, "no Vault role found"),
        (not own_config and not notes.text("auth-path"), "no Vault Auth Path found"),
        (not own_config and not notes.text("service"), "no Vault address found"),
    ):
        if wrong:
            raise AnnotationError(message)


def _uid_of_first_container(pod: Pod) -> int:
    if not pod.containers:
        raise AnnotationError("No containers found in Pod Spec")
    first = pod.containers[0]
    if not first.has_security_context:
        raise AnnotationError("No SecurityContext found for Container 0")
    if first.run_as_user is None:
        raise AnnotationError("RunAsUser is nil for Container 0's SecurityContext")
    if first.run_as_user == 0:
        raise AnnotationError("container not allowed to run as root")
    return first.run_as_user


def _share_process_namespace(pod: Pod, notes: Notes) -> bool | None:
    if "agent-share-process-namespace" not in notes:
        return None
    wanted = notes.flag("agent-share-process-namespace")
    if wanted and pod.share_process_namespace is False:
        raise AnnotationError(
            "shareProcessNamespace explicitly disabled on the pod, refusing to enable it"
        )
    return wanted


def _auth_config(notes: Notes, token: TokenVolume) -> JsonObject:
    config: JsonObject = {}
    if token.mount_path and token.token_path:
        config["token_path"] = posixpath.normpath(f"{token.mount_path}/{token.token_path}")
    for key, text in notes.family("auth-config-").items():
        config[key.replace("-", "_")] = text
    if notes.text("role"):
        config["role"] = notes.text("role")
    return config


def _patch_of(notes: Notes, name: str) -> list[jsonpatch.Operation]:
    return jsonpatch.decode(notes.text(name)) if notes.text(name) else []


def _json_or_text(text: str) -> Any:
    """The value of a JSON text, its numbers as Go's floats; the text itself if it is none."""
    try:
        return _floats(gojson.loads(text))
    except (ValueError, RecursionError):
        return text


def _floats(value: Any) -> Any:
    if isinstance(value, gojson.Number):
        # A number that is too large becomes an infinity, which has no form: a ValueError.
        return gojson.Number(gojson.format_float(float(value)))
    if isinstance(value, list):
        return [_floats(item) for item in value]
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    return value
