"""The three calls of kube-apiserver: Status, Encrypt, Decrypt.

Status never fails while this process lives: an unhealthy answer with the known key ID lets
kube-apiserver go on writing with the seed that it holds, an error would stop it within
three minutes. Only a key that is certainly gone gets another ID, because what is written
under it could never be read again. Encrypt uses the version that the last Status named, so
that the two agree even when the key is rotated in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from standins.common.logs import Log
from standins.kms_plugin.api import (
    API_VERSION,
    HEALTHY,
    LONGEST_CIPHERTEXT,
    SCHEMA,
    SERVICE,
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
    StatusRequest,
    StatusResponse,
)
from standins.kms_plugin.errors import NotOurs, Problem, defect
from standins.kms_plugin.transit import ABSENT, Key, Transit, Version
from standins.kms_plugin.vault import Vault
from standins.kms_plugin.watch import View, Watch

log = Log(__name__)

R = TypeVar("R")

# A DNS name, as kube-apiserver demands; "domain/name" as in Kubernetes' own is refused.
ANNOTATION = "key-version.kms.kube-vault-labs.test"
# The part of a caller's deadline that may be used up: the answer has to travel, too.
SHARE = 0.8
LONGEST_UID = 64


class KeyService:
    """Serves v2.KeyManagementService with one key of Transit."""

    def __init__(self, vault: Vault, transit: Transit, watch: Watch) -> None:
        self._vault = vault
        self._transit = transit
        self._watch = watch
        self._named: Key | None = None

    def handlers(self) -> grpc.GenericRpcHandler:
        """What a gRPC server needs to serve the three calls."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Status": SCHEMA.method(self.status, StatusRequest),
                "Encrypt": SCHEMA.method(self.encrypt, EncryptRequest),
                "Decrypt": SCHEMA.method(self.decrypt, DecryptRequest),
            },
        )

    async def status(self, request: StatusRequest, context: Any) -> StatusResponse:
        """The health in a word or a sentence, and the key that Encrypt will use."""
        started = time.monotonic()
        view = await self._watch.look(self._budget(context))
        self._named = view.key
        answer = StatusResponse(API_VERSION, healthz(view), self._key_id_of(view))
        outcome = "ok" if view.problem is None else view.problem.code.name
        log.debug("status", key_id=answer.key_id, outcome=outcome, ms=_since(started))
        return answer

    async def encrypt(self, request: EncryptRequest, context: Any) -> EncryptResponse:
        """Wrap a seed with the version of the key that Status named."""
        return await self._answer("encrypt", request.uid, context, lambda: self._encrypt(request))

    async def decrypt(self, request: DecryptRequest, context: Any) -> DecryptResponse:
        """Unwrap a seed, with whichever version of the key wrapped it."""
        return await self._answer("decrypt", request.uid, context, lambda: self._decrypt(request))

    async def _encrypt(self, request: EncryptRequest) -> EncryptResponse:
        if not request.plaintext:
            raise NotOurs("there is nothing to encrypt: the plaintext is empty")
        key = self._named or await self._transit.key()
        ciphertext = await self._transit.encrypt(request.plaintext, key.latest)
        if len(ciphertext) > LONGEST_CIPHERTEXT:
            raise NotOurs(
                f"{len(request.plaintext)} bytes give a ciphertext of {len(ciphertext)};"
                f" kube-apiserver takes {LONGEST_CIPHERTEXT}, for it only sends seeds of 32 bytes"
            )
        annotations = {ANNOTATION: str(key.latest.number).encode()}
        return EncryptResponse(ciphertext, self._key_id(key.latest), annotations)

    async def _decrypt(self, request: DecryptRequest) -> DecryptResponse:
        version = self._version_in(request)
        return DecryptResponse(await self._transit.decrypt(request.ciphertext, version))

    async def _answer(
        self, operation: str, uid: str, context: Any, work: Callable[[], Awaitable[R]]
    ) -> R:
        """What `work` gives, in the time there is; or its problem as a gRPC status."""
        started = time.monotonic()
        seconds = self._budget(context)
        uid = uid[:LONGEST_UID]
        try:
            async with asyncio.timeout(seconds):
                found = await work()
        except TimeoutError:
            problem: Problem = self._vault.slow(seconds)
        except Problem as error:
            problem = error
        except Exception as error:
            # Left to grpc, its message would be part of the answer.
            problem = defect(operation, error)
        else:
            log.info(operation, uid=uid, outcome="ok", ms=_since(started))
            return found
        self._watch.doubt()
        log.warn(operation, uid=uid, outcome=problem.code.name, ms=_since(started), problem=problem)
        await context.abort(problem.code, str(problem))
        raise AssertionError("abort raises")

    def _budget(self, context: Any) -> float:
        """Seconds for one call: the time limit, or less when the caller waits for less."""
        left = context.time_remaining()
        limit = self._vault.timeout
        return limit if left is None else max(0.0, min(limit, float(left) * SHARE))

    def _key_id(self, version: Version) -> str:
        return f"{self._transit.label}:{version}"

    def _key_id_of(self, view: View) -> str:
        if view.absent:
            return f"{self._transit.label}:{ABSENT}"
        return self._key_id(view.key.latest) if view.key else ""

    def _version_in(self, request: DecryptRequest) -> Version:
        """The version of our key that the request names. Raises NotOurs."""
        label, _, rest = request.key_id.partition(":")
        version = Version.parse(rest)
        if label != self._transit.label or version is None:
            raise NotOurs(
                f"the key_id is not one of {self._transit.label}: another provider, mount or key"
                " encrypted this; start a plugin with that key beside this one"
            )
        given = dict(request.annotations)
        if given != {ANNOTATION: str(version.number).encode()}:
            raise NotOurs(
                f"the annotations are not those of {ANNOTATION} for version {version.number},"
                " as the key_id says: the object was damaged, or another provider wrote it"
            )
        return version


def healthz(view: View) -> str:
    """The one word that kube-apiserver takes for health, or what is wrong."""
    return str(view.problem) if view.problem else HEALTHY


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)
