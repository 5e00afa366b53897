"""Every annotation the injector knows, and how their values are looked up.

ANNOTATIONS is the one list: a lookup of a name that is not on it is a programming
error, and the tests walk the list to see that each has a case of its own. A name that
ends in a dash is a family: what follows the dash is the name of a secret or of a
parameter. Source: hashicorp/vault-k8s v1.7.6, agent-inject/agent/annotations.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from standins.common import values

PREFIX = "vault.hashicorp.com/"
INJECT = "agent-inject"
STATUS = "agent-inject-status"

T = TypeVar("T")

ANNOTATIONS: dict[str, str] = {
    "agent-inject": "ask for injection (bool)",
    "agent-inject-status": "written by the webhook: injected",
    "agent-inject-secret-": "path of a secret in Vault's API",
    "agent-inject-template-": "template text of a secret's file",
    "agent-inject-template-file-": "path of the template inside the agent's container",
    "agent-inject-file-": "file name, may hold folders",
    "agent-inject-perms-": "mode of the file, octal",
    "agent-inject-command-": "command the agent runs after rendering",
    "agent-template-left-delim-": "left delimiter of the template",
    "agent-template-right-delim-": "right delimiter of the template",
    "error-on-missing-key-": "rendering fails where a key is missing (bool)",
    "secret-volume-path": "folder of the secrets",
    "secret-volume-path-": "folder of one secret, a volume of its own",
    "preserve-secret-case": "keep capitals in file names (bool)",
    "preserve-secret-case-": "the same for one secret (bool)",
    "agent-inject-default-template": "map or json",
    "agent-inject-containers": "application containers that get the secrets, comma list",
    "agent-inject-token": "also write the token beside the secrets (bool)",
    "agent-image": "image of the agent",
    "agent-request-namespace": "namespace of the request",
    "agent-init-first": "the agent is the first init container (bool)",
    "agent-pre-populate": "an init container renders first (bool)",
    "agent-pre-populate-only": "no sidecar (bool)",
    "agent-configmap": "ConfigMap with config-init.hcl and config.hcl",
    "agent-extra-secret": "Secret mounted at /vault/custom",
    "agent-copy-volume-mounts": "container whose mounts the agent gets too",
    "agent-limits-cpu": "CPU limit of the agent",
    "agent-limits-mem": "memory limit of the agent",
    "agent-limits-ephemeral": "ephemeral storage limit of the agent",
    "agent-requests-cpu": "CPU request of the agent",
    "agent-requests-mem": "memory request of the agent",
    "agent-requests-ephemeral": "ephemeral storage request of the agent",
    "agent-revoke-on-shutdown": "revoke the token when the pod ends (bool)",
    "agent-revoke-grace": "seconds to wait before that",
    "agent-run-as-user": "uid of the agent",
    "agent-run-as-group": "gid of the agent",
    "agent-run-as-same-user": "the uid of the first container (bool)",
    "agent-set-security-context": "give the agent a securityContext (bool)",
    "agent-share-process-namespace": "set shareProcessNamespace on the pod (bool)",
    "agent-service-account-token-volume-name": "volume with the token to log in with",
    "service": "Vault's address",
    "namespace": "Vault namespace",
    "proxy-address": "HTTPS proxy on the way to Vault",
    "role": "Vault role",
    "auth-type": "auth method",
    "auth-path": "mount path of the auth method",
    "auth-config-": "parameter of the auth method",
    "auth-min-backoff": "shortest wait between logins, Go duration",
    "auth-max-backoff": "longest wait between logins, Go duration",
    "agent-auto-auth-exit-on-err": "a failed login ends the agent (bool)",
    "tls-skip-verify": "do not check Vault's certificate (bool)",
    "tls-secret": "Secret mounted at /vault/tls",
    "tls-server-name": "name expected in Vault's certificate",
    "ca-cert": "file with Vault's CA",
    "ca-key": "written to ca_path (upstream's quirk)",
    "client-cert": "file with a client certificate",
    "client-key": "file with its key",
    "client-max-retries": "VAULT_MAX_RETRIES of the agent",
    "client-timeout": "VAULT_CLIENT_TIMEOUT of the agent",
    "go-max-procs": "GOMAXPROCS of the agent",
    "log-level": "VAULT_LOG_LEVEL of the agent",
    "log-format": "VAULT_LOG_FORMAT of the agent",
    "agent-cache-enable": "the agent caches and listens (bool)",
    "agent-cache-use-auto-auth-token": "true, false or force",
    "agent-cache-listener-port": "port on 127.0.0.1",
    "agent-cache-exit-on-err": "a cache that cannot be restored ends the agent (bool)",
    "agent-enable-quit": "serve /agent/v1/quit (bool)",
    "agent-disable-idle-connections": "comma list: auto-auth, caching, templating",
    "agent-disable-keep-alives": "comma list: auto-auth, caching, templating",
    "agent-json-patch": "JSON Patch for the sidecar",
    "agent-init-json-patch": "JSON Patch for the init container",
    "template-config-exit-on-retry-failure": "give up when rendering keeps failing (bool)",
    "template-static-secret-render-interval": "how often KV secrets are read again",
    "template-max-connections-per-host": "connections to Vault for templates",
    "template-lease-renewal-threshold": "share of a lease to wait before reading again",
    "agent-telemetry-": "parameter of the telemetry stanza",
}

# `-template-file-` before `-template-`: the longer family is meant where both match.
SECRET_FAMILIES = ("agent-inject-secret-", "agent-inject-template-file-", "agent-inject-template-")
_FAMILIES = tuple(sorted((name for name in ANNOTATIONS if name.endswith("-")), key=len)[::-1])


class AnnotationError(ValueError):
    """An annotation, or what it refers to in the pod, is not right."""


class Notes:
    """A pod's annotations of our prefix, over the defaults for this request."""

    def __init__(self, given: Mapping[str, str], defaults: Mapping[str, str]) -> None:
        own = {
            key.removeprefix(PREFIX): value
            for key, value in given.items()
            if key.startswith(PREFIX)
        }
        self.given = frozenset(own)
        self._values = {**defaults, **own}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, fallback: str = "") -> str:
        """The value of a plain annotation."""
        ANNOTATIONS[name]
        return self._values.get(name, fallback)

    def of_secret(self, family: str, secret: str, fallback: str = "") -> str:
        """The value of a family's member for one secret, by the name as written."""
        ANNOTATIONS[family]
        return self._values.get(family + secret, fallback)

    def family(self, family: str) -> dict[str, str]:
        """All members of a family, by what follows the dash, sorted by it."""
        ANNOTATIONS[family]
        return {
            name.removeprefix(family): self._values[name]
            for name in sorted(self._values)
            if name.startswith(family)
        }

    def parsed(self, name: str, parse: Callable[[str], T], fallback: str = "") -> T:
        """A plain annotation through `parse`; AnnotationError names it when that fails."""
        return parsed(name, self.text(name, fallback), parse)

    def flag(self, name: str, fallback: bool = False) -> bool:
        """A plain annotation that is a bool."""
        return self.parsed(name, values.parse_bool, str(fallback).lower())

    def unknown(self) -> list[str]:
        """Names under our prefix that mean nothing: most often a typing error."""
        return sorted(
            name
            for name in self.given
            if name not in ANNOTATIONS and not any(name.startswith(each) for each in _FAMILIES)
        )


def parsed(name: str, text: str, parse: Callable[[str], T]) -> T:
    """`parse(text)`, with the annotation's name before the reason when it fails."""
    try:
        return parse(text)
    except ValueError as error:
        raise AnnotationError(f"{PREFIX}{name}: {error}") from error
