"""The value of every annotation a pod leaves out, for one injector and one request.

Three kinds of default meet here: upstream's fixed ones, those the injector was started
with, and those of the request (its namespace, its containers). Whatever the pod says
itself wins, even when it says the empty string.
"""

from __future__ import annotations

from standins.common import values
from standins.injector import jsonpatch
from standins.injector.annotations import PREFIX, AnnotationError, Notes
from standins.injector.pod import Pod
from standins.injector.settings import Settings


def _bool(value: bool) -> str:
    return "true" if value else "false"


def defaults(pod: Pod, namespace: str, settings: Settings) -> Notes:
    """The pod's annotations over all defaults. Raises AnnotationError."""
    for missing, message in (
        (not settings.vault_addr, "address for Vault required"),
        (not settings.vault_auth_path, "Vault Auth Path required"),
        (not namespace, "kubernetes namespace required"),
    ):
        if missing:
            raise AnnotationError(message)
    filled = _fixed() | _from_settings(settings)
    filled["agent-request-namespace"] = namespace
    filled["agent-inject-containers"] = ",".join(each.name for each in pod.containers)
    own = frozenset(pod.annotations)
    # A person who sets a uid wants it to be used, even where the injector's own
    # setting leaves security contexts out.
    run_as = ("agent-run-as-user", "agent-run-as-group", "agent-run-as-same-user")
    if any(PREFIX + name in own for name in run_as):
        filled["agent-set-security-context"] = "true"
    notes = Notes(pod.annotations, filled)
    _check_early(notes)
    return notes


def _fixed() -> dict[str, str]:
    return {
        "secret-volume-path": "/vault/secrets",
        "agent-revoke-grace": "5",
        "log-level": "info",
        "log-format": "standard",
        "agent-cache-enable": "false",
        "agent-cache-use-auto-auth-token": "true",
        "agent-cache-listener-port": "8200",
        "agent-cache-exit-on-err": "false",
    }


def _from_settings(settings: Settings) -> dict[str, str]:
    filled = {
        "service": settings.vault_addr,
        "auth-type": settings.vault_auth_type or "kubernetes",
        "auth-path": settings.vault_auth_path,
        "namespace": settings.vault_namespace,
        "proxy-address": settings.proxy_address,
        "agent-image": settings.vault_image,
        "agent-limits-cpu": settings.cpu_limit,
        "agent-limits-mem": settings.mem_limit,
        "agent-limits-ephemeral": settings.ephemeral_limit,
        "agent-requests-cpu": settings.cpu_request,
        "agent-requests-mem": settings.mem_request,
        "agent-requests-ephemeral": settings.ephemeral_request,
        "agent-revoke-on-shutdown": _bool(settings.revoke_on_shutdown),
        "agent-set-security-context": _bool(settings.set_security_context),
        "agent-run-as-user": settings.run_as_user or "100",
        "agent-run-as-group": settings.run_as_group or "1000",
        "agent-run-as-same-user": _bool(settings.run_as_same_user),
        "agent-inject-default-template": settings.default_template,
        "template-config-exit-on-retry-failure": _bool(settings.exit_on_retry_failure),
        "template-static-secret-render-interval": settings.static_secret_render_interval,
        "template-max-connections-per-host": str(settings.max_connections_per_host),
        "agent-disable-idle-connections": settings.disable_idle_connections,
        "agent-disable-keep-alives": settings.disable_keep_alives,
    }
    if settings.auth_min_backoff:
        filled["auth-min-backoff"] = settings.auth_min_backoff
    if settings.auth_max_backoff:
        filled["auth-max-backoff"] = settings.auth_max_backoff
    return filled


def _check_early(notes: Notes) -> None:
    for which in ("min", "max"):
        if text := notes.text(f"auth-{which}-backoff"):
            try:
                values.parse_duration(text)
            except ValueError as error:
                raise AnnotationError(
                    f"error parsing {which} backoff as duration: {error}"
                ) from error
    for name in ("agent-json-patch", "agent-init-json-patch"):
        if text := notes.text(name):
            try:
                jsonpatch.decode(text)
            except jsonpatch.PatchError as error:
                raise AnnotationError(
                    f"error parsing JSON patch for annotation {PREFIX}{name}: {error}"
                ) from error
