"""The two calls of the service: what a mount request turns into, and the version.

Objects are read one after another, and within one request each (path, method) is read
once, however many objects use it: a user name and its password come from one lease.
The first object that cannot be had ends the request; the driver then writes nothing.
"""

from __future__ import annotations

import time
import urllib.parse
from typing import Any

import grpc

from standins.common.connection import BadConnection
from standins.common.logs import Log
from standins.common.vault import VaultError
from standins.csi_provider import RUNTIME_NAME, VERSION
from standins.csi_provider.api import (
    SCHEMA,
    SERVICE,
    File,
    MountRequest,
    MountResponse,
    ObjectVersion,
    VersionRequest,
    VersionResponse,
)
from standins.csi_provider.cluster import Cluster, NoKey
from standins.csi_provider.errors import ConfigError, MountError
from standins.csi_provider.objects import SecretObject
from standins.csi_provider.parameters import Request, parse_request
from standins.csi_provider.secret import Secret, content
from standins.csi_provider.vault import ClientCache, Jwt, VaultClient
from standins.csi_provider.versions import object_version

log = Log(__name__)

# gRPC may drop a call whose trailers, with the reason percent-encoded in them, pass 8 KiB.
LONGEST_REASON = 6000


class Provider:
    """Serves v1alpha1.CSIDriverProvider."""

    def __init__(self, clients: ClientCache, cluster: Cluster) -> None:
        self._clients = clients
        self._cluster = cluster

    def handlers(self) -> grpc.GenericRpcHandler:
        """What a gRPC server needs to serve the two calls."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Version": SCHEMA.method(self.version, VersionRequest),
                "Mount": SCHEMA.method(self.mount, MountRequest),
            },
        )

    async def version(self, request: VersionRequest, context: Any) -> VersionResponse:
        """Who answers here, and which protocol it speaks."""
        return VersionResponse("v1alpha1", RUNTIME_NAME, VERSION)

    async def mount(self, request: MountRequest, context: Any) -> MountResponse:
        """The files of a volume; every refusal is a gRPC status UNKNOWN with its reason."""
        started = time.monotonic()
        pairs: dict[str, object] = {"target": request.target_path}
        try:
            wanted = parse_request(request)
            pod = wanted.login.pod
            pairs |= {"pod": f"{pod.namespace}/{pod.name}", "role": wanted.login.role}
            response = await self._fulfil(wanted)
        except ConfigError as error:
            problem = str(error)
        except MountError as error:
            problem = f"error making mount request: {error}"
        except Exception as error:
            # Whatever this is, the event must say that it is ours and must not quote data.
            log.defect("mount failed", **pairs)
            problem = (
                f"error making mount request: {type(error).__name__} in the provider; see its log"
            )
        else:
            pairs |= {"files": len(response.files)}
            log.info("mounted", **pairs, seconds=round(time.monotonic() - started, 3))
            return response
        log.warn("mount refused", **pairs, error=problem)
        await context.abort(grpc.StatusCode.UNKNOWN, shorten(problem))
        raise AssertionError("abort raises")

    async def _fulfil(self, wanted: Request) -> MountResponse:
        key = await self._key()
        try:
            client = self._clients.get(wanted.login)
        except (ConfigError, BadConnection) as error:
            raise MountError(str(error)) from None
        reader = _Reader(client, self._jwt(wanted))
        files, versions = [], []
        for entry in wanted.objects:
            contents = content(entry, await reader.read(entry))
            files.append(File(entry.name, entry.mode or wanted.mode, contents))
            versions.append(ObjectVersion(entry.name, object_version(entry, key, contents)))
        return MountResponse(object_version=tuple(versions), files=tuple(files))

    async def _key(self) -> bytes:
        try:
            return await self._cluster.hmac_key()
        except NoKey as error:
            # A secret without a version is worth more to a pod than none.
            log.warn("no HMAC key, objects get no version", error=error)
            return b""

    def _jwt(self, wanted: Request) -> Jwt:
        async def jwt() -> str:
            if wanted.pod_token:
                return wanted.pod_token
            log.debug("no token for the audience in the request, making one")
            return await self._cluster.pod_token(wanted.login.pod, wanted.login.audience)

        return jwt


def shorten(reason: str) -> str:
    """The start of `reason` that fits into a gRPC trailer."""
    while len(urllib.parse.quote(reason)) > LONGEST_REASON:
        reason = reason[: len(reason) * 3 // 4]
    return reason


class _Reader:
    """Reads each (path, method) of one request once."""

    def __init__(self, client: VaultClient, jwt: Jwt) -> None:
        self._client = client
        self._jwt = jwt
        self._seen: dict[tuple[str, str], Secret] = {}

    async def read(self, entry: SecretObject) -> Secret:
        """Vault's answer for `entry`. Raises MountError."""
        source = (entry.path, entry.method)
        if source not in self._seen:
            self._seen[source] = await self._ask(entry)
        return self._seen[source]

    async def _ask(self, entry: SecretObject) -> Secret:
        try:
            secret = await self._client.read(entry, self._jwt)
        except (VaultError, ConfigError, BadConnection, MountError) as error:
            raise MountError(f'couldn\'t read secret "{entry.name}": {error}') from None
        if secret.data is None:
            warnings = " ".join(secret.warnings)
            raise MountError(f'empty response from "{entry.path}", warnings: [{warnings}]')
        for warning in secret.warnings:
            log.warn("Vault warns", path=entry.path, warning=warning)
        return secret
