"""Which mounted service-account token the agent logs in with.

By default the first container mount whose path holds `serviceaccount`: the one the API
server's ServiceAccount admission adds, so `automountServiceAccountToken: false` leaves
nothing to find. An annotation can name a projected volume instead. A pod for AWS auth
also lends the agent its web-identity token.
"""

from __future__ import annotations

from dataclasses import dataclass

from standins.injector.annotations import AnnotationError
from standins.injector.pod import JsonObject, Pod

DEFAULT_MOUNT = "/var/run/secrets/vault.hashicorp.com/serviceaccount"
AWS_ENV = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_DEFAULT_REGION", "AWS_REGION")


@dataclass(frozen=True)
class TokenVolume:
    """A volume with a token, where it is mounted, and the token's file in it."""

    name: str
    mount_path: str
    token_path: str = "token"  # noqa: S105 - a file name, not a token


def find(pod: Pod, wanted: str) -> TokenVolume:
    """The token volume of the annotation, or the default one. Raises AnnotationError."""
    mounts = [mount for container in pod.containers for mount in container.mounts]
    if not wanted:
        for mount in mounts:
            if "serviceaccount" in mount.path:
                return TokenVolume(mount.volume, mount.path)
        raise AnnotationError("failed to find service account volume mount")
    volume = next((each for each in pod.volumes if each.get("name") == wanted), None)
    mounted = next((mount for mount in mounts if mount.volume == wanted), None)
    if volume is None:
        raise AnnotationError(f'failed to find service account volume "{wanted}"')
    path = mounted.path if mounted else DEFAULT_MOUNT
    return TokenVolume(wanted, path, _projected_path(volume, wanted))


def _projected_path(volume: JsonObject, name: str) -> str:
    projected = volume.get("projected")
    sources = projected.get("sources") if isinstance(projected, dict) else None
    for source in sources if isinstance(sources, list) else []:
        token = source.get("serviceAccountToken") if isinstance(source, dict) else None
        path = token.get("path") if isinstance(token, dict) else None
        if isinstance(path, str) and path:
            return path
    raise AnnotationError(f'failed to find tokenPath for projected volume "{name}"')


def find_aws(pod: Pod) -> TokenVolume | None:
    """The web-identity token mount that EKS adds, when there is one."""
    for container in pod.containers:
        for mount in container.mounts:
            if "eks.amazonaws.com" in mount.path:
                return TokenVolume(mount.volume, mount.path)
    return None


def aws_env(pod: Pod) -> dict[str, str]:
    """The AWS variables of the pod's containers; the first container to set one wins."""
    found: dict[str, str] = {}
    for container in pod.containers:
        for name in AWS_ENV:
            if name in container.env:
                found.setdefault(name, container.env[name])
    return found
