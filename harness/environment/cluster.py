"""One kind cluster through pytest-kind's KindCluster, with its own programs and kubeconfig.

pytest-kind creates and deletes; it is given the programs, because it would download
fixed ones, and its own kubeconfig, so that a person's is never read or written. A file
marks a cluster whose creation ran to its end: without it, whatever is there is deleted
and created again, because kind cannot finish an interrupted creation.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from docker.models.containers import Container
from pytest_kind.cluster import KindCluster
from urllib3.exceptions import HTTPError

from harness.base import process, tasks
from harness.base.errors import LabError
from harness.base.wait import wait_for
from harness.clients.kube import Kube, KubeRefused, Objects
from harness.clients.kube_objects import condition
from harness.controlplane import encryption
from harness.controlplane.change import ControlPlane
from harness.controlplane.contract import (
    API_PORT,
    DNS_LABEL,
    DNS_READY_PORT,
    KUBELET_UNIT,
)
from harness.environment.kind import KindProgram
from harness.supply.engine import contexts, engine
from harness.supply.into_nodes import NodeImages

NETWORK_VARIABLE = "KIND_EXPERIMENTAL_DOCKER_NETWORK"
READY_SECONDS = 120.0
# By way of the API server, the port of CoreDNS' plugin "ready".
DNS_READY = f"/api/v1/namespaces/kube-system/pods/{{pod}}:{DNS_READY_PORT}/proxy/ready"


class Cluster:
    """The kind cluster `name`, its kubeconfig in `folder`, on the docker network `network`."""

    def __init__(self, name: str, folder: Path, network: str) -> None:
        self.name = name
        self.folder = folder
        self.network = network
        self.kubeconfig = folder / "kubeconfig"
        self._complete = folder / "cluster.complete"
        # What was copied into the node.
        self._loaded = folder / "loaded.json"
        self._program = KindProgram(folder)

    def __repr__(self) -> str:
        return f"<kind cluster {self.name}>"

    @property
    def node_name(self) -> str:
        """The node's container, its hostname, and its name in Kubernetes."""
        return f"{self.name}-control-plane"

    @property
    def api_server(self) -> str:
        """The API server as a container on the same network reaches it."""
        return f"https://{self.node_name}:{API_PORT}"

    def up(self, kind: Path, kubectl: Path, image: str, config: Path, log: Path) -> bool:
        """Create the cluster, or start and keep the one that is there; True if created."""
        node = self.node()
        if node and not (self._complete.exists() and self.kubeconfig.exists()):
            self.down(kind, kubectl)
            node = None
        if node is None:
            self._create(kind, kubectl, image, config, log)
            return True
        if node.status != "running":
            node.start()
        # The API server's settings may be broken, or a change of them was interrupted.
        encryption.restore_readability(self._control_plane())
        self.wait_ready()
        return False

    def down(self, kind: Path, kubectl: Path) -> None:
        """Delete the cluster and its kubeconfig; fine when there is none."""
        self._complete.unlink(missing_ok=True)
        if self.node():
            self._kind_cluster(kind, kubectl, "", self.folder / "kind.log").delete()
        self.kubeconfig.unlink(missing_ok=True)
        self._loaded.unlink(missing_ok=True)

    def node(self) -> Container | None:
        """The node's container, or None when there is none."""
        return engine.container(self.node_name)

    def images(self) -> list[NodeImages]:
        """What each node has of the engine's images."""
        return [NodeImages(self.node_name, self._loaded)]

    def wait_ready(self) -> None:
        """Wait until the node is Ready and the cluster's DNS answers."""
        kube = Kube(self.kubeconfig, "kube-system")
        health = self._control_plane().health
        wait_for(
            f"the API server of {self.name}",
            lambda: kube.get("Namespace", "default"),
            timeout=READY_SECONDS,
            transient=(HTTPError, KubeRefused),
            explain=self.journal,
        )
        wait_for(
            f"node {self.node_name} to be Ready",
            lambda: condition(kube.get("Node", self.node_name), "Ready").get("status") == "True",
            timeout=READY_SECONDS,
            explain=self.journal,
        )
        wait_for(
            "the cluster's DNS to be ready",
            lambda: dns_is_ready(kube.list("Pod", selector=DNS_LABEL), health),
            timeout=READY_SECONDS,
            explain=lambda: "\n".join(
                kube.explain_pod(pod["metadata"]["name"])
                for pod in kube.list("Pod", selector=DNS_LABEL)
            ),
        )

    # -- inside -------------------------------------------------------------------------

    def _control_plane(self) -> ControlPlane:
        return ControlPlane(self.node_name, self.kubeconfig, self.folder / "control-plane")

    def _create(self, kind: Path, kubectl: Path, image: str, config: Path, log: Path) -> None:
        cluster = self._kind_cluster(kind, kubectl, image, log, config.parent)
        try:
            with tasks.stopping(self._program.end):
                cluster.create(config)
        except KeyboardInterrupt:
            self._program.end()
            raise
        except subprocess.CalledProcessError as error:
            tasks.check()
            tail = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
            raise LabError(
                f"kind could not create the cluster {self.name}\n" + "\n".join(tail),
                where=str(log),
                hint="kind's message is often a symptom; the cause is in the node's journal:\n"
                + self.journal(),
            ) from error
        finally:
            self._program.forget()
        tasks.check()
        self.kubeconfig.chmod(0o600)
        self.wait_ready()
        self._complete.touch()

    def _kind_cluster(
        self, kind: Path, kubectl: Path, image: str, log: Path, folder: Path = Path("/")
    ) -> Any:
        variables = {NETWORK_VARIABLE: self.network, **contexts.proxies_of_nodes()}
        # pytest-kind makes a folder of its cluster's name in the working directory, where a
        # person may have no right to write. A whole path in the place of the name leads it away.
        cluster = KindCluster(
            str(self.folder / "pytest-kind"),
            kubeconfig=self.kubeconfig,
            image=image or None,
            kind_path=self._program.write(kind, log, folder, variables),
            kubectl_path=kubectl,
        )
        cluster.name = self.name
        return cluster

    def journal(self) -> str:
        """The last lines of the node's kubelet, for an explanation."""
        node = self.node()
        if node is None:
            return f"the container {self.node_name} does not exist"
        if node.status != "running":
            return f"the container {self.node_name} is {node.status}:\n" + node.logs(
                tail=20
            ).decode(errors="replace")
        return _exec(self.node_name, ["journalctl", "--no-pager", "-n", "15", "-u", KUBELET_UNIT])


def dns_is_ready(pods: Objects, health: Callable[[str], tuple[int, str]]) -> bool:
    """Whether one of CoreDNS' pods is ready, and says so itself when it is asked.

    Its Deployment is no evidence: with one replica it counts as "Available" without a ready
    pod. And after a restart of the node, the API shows the pods' earlier state for a while.
    """
    return any(
        condition(pod, "Ready").get("status") == "True"
        and health(DNS_READY.format(pod=pod["metadata"]["name"]))[0] == HTTPStatus.OK
        for pod in pods
    )


def _exec(node: str, command: list[str]) -> str:
    ended = process.in_container(node, command)
    return (ended.stdout + ended.stderr).decode(errors="replace")
