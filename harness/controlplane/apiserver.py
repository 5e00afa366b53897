"""The API server as a static pod: requests to it, and its replacement by a changed one.

The kubelet runs what the manifest says. To change it, the process is stopped and another
manifest written before the kubelet looks again: an API server that answers from then on is the
new one. The files of the last settings that worked are kept on the node.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from harness.base.errors import GaveUp, LabError
from harness.base.wait import wait_for
from harness.clients.kube import Kube
from harness.controlplane.contract import API_SERVER, MANIFESTS
from harness.controlplane.node import STOPPED, Node
from harness.controlplane.settings import AUDIT_POLICY, ENCRYPTION, FOLDER, Document

GOOD = f"{FOLDER}/good"
MANIFEST = f"{MANIFESTS}/{API_SERVER}.yaml"
READY = "/readyz"
# The process serves requests, whether or not it can decrypt what etcd holds.
SERVES = "/livez"

READY_SECONDS = 90.0
STOP_SECONDS = 60.0
REQUEST_SECONDS = 10
# A process that reads a bad file ends within a second or two; the kubelet needs one to start it.
DEAD_LOOKS = 3
EVERY = 0.1


class ApiServer:
    """The API server of one node."""

    def __init__(self, node: Node, kubeconfig: Path) -> None:
        self.node = node
        self._kubeconfig = kubeconfig

    @cached_property
    def _kube(self) -> Kube:
        return Kube(self._kubeconfig, "default")

    # -- asking -------------------------------------------------------------------------

    def health(self, path: str = READY) -> tuple[int, str]:
        """The status and the text with which the API server answers; 0 when it does not."""
        try:
            answer = self._ask("GET", path)
        except HTTPError as error:
            return 0, str(error)
        return int(answer.status), answer.data.decode(errors="replace")

    def call(self, method: str, path: str, body: Document | None = None) -> tuple[int, Document]:
        """One request to the API server as the administrator: status and answer."""
        try:
            answer = self._ask(method, path, body)
            return int(answer.status), json.loads(answer.data)
        except (HTTPError, ValueError) as error:
            return 0, {"message": str(error)}

    def answers(self) -> bool:
        """Whether it answers at all, ready or not."""
        return self.health("/version")[0] == 200

    def _ask(self, method: str, path: str, body: Document | None = None) -> Any:
        # The Kubernetes client would repeat a request that is answered with 429.
        api = self._kube.api
        return api.rest_client.pool_manager.request(
            method,
            f"{api.configuration.host}{path}",
            body=None if body is None else json.dumps(body),
            headers={"Accept": "application/json", "Content-Type": "application/json"},
            retries=False,
            timeout=REQUEST_SECONDS,
        )

    # -- replacing ----------------------------------------------------------------------

    def good(self) -> dict[str, str]:
        """The files of the last settings that worked, by their paths."""
        names = (MANIFEST, ENCRYPTION, AUDIT_POLICY)
        found = self.node.read(*(f"{GOOD}{name}" for name in names))
        return {name.removeprefix(GOOD): text for name, text in found.items()}

    def replace(self, files: Mapping[str, str], ready: str) -> None:
        """Stop the API server, put these files there, wait for it; keep them as good."""
        self.node.exchange(files)
        self.wait_ready(ready)
        if ready == READY:
            # Controllers give up when the API server that they reach is not ready.
            self.node.renew_clients()
        self.node.remove(GOOD, *(name for name in (ENCRYPTION, AUDIT_POLICY) if name not in files))
        self.node.write_all({f"{GOOD}{name}": text for name, text in files.items()})
        if ready == READY:
            wait_for(
                "the kubelet to know its pods again",
                self._kubelet_knows_pods,
                timeout=STOP_SECONDS,
                every=EVERY,
            )

    def wait_ready(self, path: str) -> None:
        """Wait for the new API server; give up at once when it has ended by itself."""
        dead = 0

        def probe() -> bool:
            nonlocal dead
            if self.health(path)[0] == 200:
                return True
            started = self.node.last_log(lines=0, since=STOPPED)[0]
            gone = started and not self.node.processes()
            dead = dead + 1 if gone else 0
            if dead >= DEAD_LOOKS:
                raise LabError(
                    "the API server ended by itself; its last words:\n" + self.last_words(),
                    where=self.node.name,
                )
            return False

        try:
            wait_for(
                f"the new API server to answer {path}",
                probe,
                timeout=READY_SECONDS,
                every=EVERY,
                explain=lambda: self._why_not(path),
            )
        except GaveUp as error:
            raise LabError(error.what, where=self.node.name, hint="./lab up") from error

    def _why_not(self, path: str) -> str:
        """The parts that are not ready, and the last log lines."""
        text = self.health(path + ("&" if "?" in path else "?") + "verbose")[1]
        parts = [line for line in text.splitlines() if line.startswith("[-]")]
        return "\n".join([*parts, self.last_words()])

    def last_words(self) -> str:
        lines = self.node.last_log(lines=40, since=STOPPED)[1]
        failed = [line for line in lines if "command failed" in line or line.startswith("F")]
        return "\n".join((failed or lines)[-4:])

    # -- inside -------------------------------------------------------------------------

    def _kubelet_knows_pods(self) -> bool:
        """Whether the kubelet knows its pods from the API: before, `exec` fails on them."""
        _, found = self.call("GET", f"/api/v1/nodes/{self.node.name}/proxy/pods")
        sources = (
            (pod["metadata"].get("annotations") or {}).get("kubernetes.io/config.source")
            for pod in found.get("items") or []
        )
        return "api" in sources


def pod_id(log: str) -> str:
    """The kubelet's id of a pod, from the name of its log: namespace_name_ID/container/0.log."""
    return log.partition("/")[0].rpartition("_")[2]
