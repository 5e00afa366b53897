"""What the injector's tests share: pods, reviews, and a JSON Patch applier of their own.

The applier knows `add` and `remove` only and shares no code with the injector, so that a
mistake in the injector's cannot hide itself here.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from standins.injector import review
from standins.injector.annotations import PREFIX
from standins.injector.certificate_context import ServingContext
from standins.injector.certificates import Authority, KeyPair
from standins.injector.run import serve
from standins.injector.settings import Settings

SETTINGS = Settings(vault_addr="https://vault.vault.svc:8200")
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ASKING = {"agent-inject": "true", "role": "app"}


def a_pod(annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod as the API server sends it: defaults filled in, the token volume mounted."""
    token = {"name": "kube-api-access-x7k2p", "mountPath": TOKEN_MOUNT, "readOnly": True}
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "namespace": "shop", "uid": "1"},
        "spec": {
            "containers": [
                {"name": "app", "image": "app:1", "volumeMounts": [dict(token)]},
                {"name": "helper", "image": "helper:1", "volumeMounts": [dict(token)]},
            ],
            "initContainers": [
                {"name": "first", "image": "first:1"},
                {"name": "second", "image": "second:1", "volumeMounts": [dict(token)]},
            ],
            "volumes": [
                {
                    "name": "kube-api-access-x7k2p",
                    "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
                }
            ],
            **spec,
        },
        "status": {},
    }
    if annotations is not None:
        pod["metadata"]["annotations"] = annotations
    return pod


def a_review(pod: Any, namespace: str = "shop", version: str = "v1") -> dict[str, Any]:
    """An AdmissionReview that asks about `pod`."""
    return {
        "apiVersion": f"admission.k8s.io/{version}",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "namespace": namespace,
            "operation": "CREATE",
            "object": pod,
        },
    }


@dataclass
class Result:
    """An answer, read: the pod after the patch, or why it was refused."""

    response: dict[str, Any]
    patch: list[dict[str, Any]]
    pod: dict[str, Any]

    @property
    def allowed(self) -> bool:
        """Whether the pod was let in."""
        return bool(self.response["allowed"])

    @property
    def message(self) -> str:
        """Why it was not."""
        return str(self.response.get("status", {}).get("message", ""))

    def container(self, name: str) -> dict[str, Any]:
        """A container or init container of the patched pod; {} when there is none."""
        spec = self.pod["spec"]
        for each in [*spec["containers"], *spec.get("initContainers", [])]:
            if each["name"] == name:
                return dict(each)
        return {}

    @property
    def init(self) -> dict[str, Any]:
        """The agent's init container."""
        return self.container("vault-agent-init")

    @property
    def sidecar(self) -> dict[str, Any]:
        """The agent's sidecar."""
        return self.container("vault-agent")

    def env(self, name: str, container: str = "vault-agent") -> str | None:
        """A variable of a container; None when it is not set."""
        for each in self.container(container).get("env", []):
            if each["name"] == name:
                return str(each.get("value"))
        return None

    def config(self, container: str = "vault-agent") -> dict[str, Any]:
        """The agent configuration a container is given; {} when it is given none."""
        encoded = self.env("VAULT_CONFIG", container)
        return dict(json.loads(base64.b64decode(encoded))) if encoded else {}

    def mounts(self, container: str) -> dict[str, str]:
        """Volume by path, as a container mounts them."""
        found = self.container(container).get("volumeMounts", [])
        return {each["mountPath"]: each["name"] for each in found}

    def volume(self, name: str) -> dict[str, Any]:
        """A volume of the patched pod; {} when there is none."""
        found = [each for each in self.pod["spec"]["volumes"] if each["name"] == name]
        return dict(found[0]) if found else {}

    def template(self, name: str = "db") -> dict[str, Any]:
        """The template of the file whose path ends in `name`; {} when there is none."""
        for each in self.config().get("template", []):
            if each["destination"].endswith(f"/{name}"):
                return dict(each)
        return {}


def inject(
    annotations: dict[str, str],
    *,
    pod: dict[str, Any] | None = None,
    namespace: str = "shop",
    settings: Settings = SETTINGS,
) -> Result:
    """Send a pod with these annotations (without prefix) through the webhook's logic."""
    pod = pod or a_pod()
    pod["metadata"]["annotations"] = {PREFIX + key: value for key, value in annotations.items()}
    body = json.dumps(a_review(pod, namespace)).encode()
    return read_answer(review.answer(body, settings).body, pod)


def read_answer(body: bytes, pod: dict[str, Any]) -> Result:
    """The answer in `body` about `pod`."""
    response = json.loads(body)["response"]
    encoded = response.get("patch")
    patch = json.loads(base64.b64decode(encoded)) if encoded else []
    return Result(response, patch, apply_patch(pod, patch))


def apply_patch(document: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """RFC 6902 `add` and `remove`, strictly: a path that leads nowhere is an error."""
    result = copy.deepcopy(document)
    for operation in patch:
        *above, last = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        ]
        target: Any = result
        for part in above:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if operation["op"] == "remove":
            del target[int(last) if isinstance(target, list) else last]
        elif operation["op"] != "add":
            raise AssertionError(f"unexpected operation {operation['op']}")
        elif isinstance(target, list):
            target.insert(len(target) if last == "-" else int(last), operation["value"])
        else:
            target[last] = copy.deepcopy(operation["value"])
    return result


def assert_acceptable(pod: dict[str, Any]) -> None:
    """Fail on what the API server refuses a pod for, as far as a patch can cause it."""
    spec = pod["spec"]
    volumes = [each["name"] for each in spec["volumes"]]
    assert len(volumes) == len(set(volumes)), f"a volume is there twice: {volumes}"
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    names = [each["name"] for each in containers]
    assert len(names) == len(set(names)), f"a container is there twice: {names}"
    for each in containers:
        paths = [mount["mountPath"] for mount in each.get("volumeMounts", [])]
        assert len(paths) == len(set(paths)), f"{each['name']} mounts twice at a path: {paths}"
        for mount in each.get("volumeMounts", []):
            assert mount["name"] in volumes, f"{each['name']} mounts no volume: {mount['name']}"
        variables = [variable["name"] for variable in each.get("env", [])]
        assert len(variables) == len(set(variables)), f"{each['name']} sets twice: {variables}"


class StillKeeper:
    """A keeper whose certificate tests change by hand."""

    def __init__(self, pair: KeyPair | None = None) -> None:
        self.authority = Authority()
        self.pair: KeyPair | None = pair or self.authority.issue(["127.0.0.1", "localhost"])
        self.ended = False

    async def round(self) -> KeyPair | None:
        """The certificate as it is."""
        return self.pair

    async def end(self) -> None:
        """Remember that it was called."""
        self.ended = True


@dataclass
class Running:
    """An injector that serves on a port of this machine."""

    port: int
    keeper: StillKeeper
    context: ServingContext
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        """Where the webhook is."""
        return f"https://127.0.0.1:{self.port}/mutate"

    async def post(self, body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
        """Status and body of one call."""
        headers = {"Content-Type": kind}
        async with self.session.post(self.url, data=body, headers=headers) as response:
            return response.status, await response.read()


@asynccontextmanager
async def running(settings: Settings = SETTINGS) -> AsyncIterator[Running]:
    """The real server with the real event loop, trusted by its own CA."""
    keeper = StillKeeper()
    context, ending = ServingContext(), asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    served = asyncio.create_task(
        serve(
            replace(settings, listen="127.0.0.1:0"),
            keeper,
            context,
            ending,
            on_listening=port.set_result,
        )
    )
    trust = ssl.create_default_context(cadata=keeper.authority.pem.decode())
    connector = aiohttp.TCPConnector(ssl=trust, limit=0)
    async with asyncio.timeout(60), aiohttp.ClientSession(connector=connector) as session:
        yield Running(await port, keeper, context, session)
    ending.set()
    await served
    assert keeper.ended
