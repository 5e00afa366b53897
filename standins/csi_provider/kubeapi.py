"""The Kubernetes API with the pod's own account: requests with JSON in and out.

Three calls is all that the provider makes. The official client's CoreV1Api alone costs
190 MB and several seconds of start on every node; aiohttp is there already. The token
file is read for each request, because kubelet renews it.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# Longer than a healthy API server ever takes, shorter than kubelet's patience (2 minutes).
TIMEOUT_SECONDS = 15.0


class ApiError(Exception):
    """A request failed; `status` is 0 when there was no answer. `str()` is the server's text."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class NoAccount(Exception):
    """This process does not run in a pod with a service account."""


@dataclass(frozen=True)
class Access:
    """Where the API server is and how to be known to it; `namespace` is the pod's."""

    server: str
    token_file: Path | None = None
    tls: ssl.SSLContext | None = None
    namespace: str = "default"


def in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT) -> Access:
    """The access that Kubernetes gives every pod. Raises NoAccount."""
    try:
        host, port = (environment[f"KUBERNETES_SERVICE_{name}"] for name in ("HOST", "PORT"))
        host = f"[{host}]" if ":" in host else host
        tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
        namespace = (account / "namespace").read_text("ascii").strip()
    except KeyError as error:
        raise NoAccount(f"not in a pod: {error.args[0]} is not set") from None
    except (OSError, ssl.SSLError) as error:
        raise NoAccount(f"not in a pod with a service account: {error}") from None
    return Access(f"https://{host}:{port}", account / "token", tls, namespace)


class KubeApi:
    """Sends requests to one API server."""

    def __init__(self, access: Access, session: aiohttp.ClientSession) -> None:
        self.namespace = access.namespace
        self._access = access
        self._session = session

    async def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The answer's JSON object. Raises ApiError."""
        headers = {"Accept": "application/json"}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._access.token_file:
                    headers["Authorization"] = (
                        f"Bearer {self._access.token_file.read_text('ascii')}"
                    )
                async with self._session.request(
                    method, self._access.server + path, json=body, headers=headers
                ) as answer:
                    text = await answer.text()
        except TimeoutError:
            raise ApiError(f"the API server did not answer within {TIMEOUT_SECONDS:.0f}s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ApiError(f"the API server cannot be asked: {type(error).__name__}") from None
        found = _object(text)
        if not 200 <= answer.status < 300:
            reason = f"the API server answered {answer.status} {answer.reason}"
            raise ApiError(str(found.get("message") or reason), answer.status)
        return found


@asynccontextmanager
async def kube_api(access: Access) -> AsyncIterator[KubeApi]:
    """An API client, closed when the block ends."""
    connector = aiohttp.TCPConnector(ssl=access.tls if access.tls else True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield KubeApi(access, session)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}
